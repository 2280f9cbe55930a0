import { type BlockingChannel, NOT_WANTED, RETRY } from "./channel.ts";
import { encodeOutHeader } from "./reply.ts";
import { decodeRequest, type FuseRequest } from "./request.ts";
import {
  BUFFER_OF_SESSION,
  BUFFER_OF_THREAD,
  NOTE_FIELDS,
  NOTES,
  type ThreadMemory,
  WORDS,
} from "./thread-memory.ts";

/** A READ, as the thread is asked for it. */
export type ThreadRead = Extract<
  FuseRequest,
  { readonly sizeBytes: number; readonly offset: number }
>;

/** What the thread tells its session. */
export type ThreadMessage =
  /** Buffer `at` holds a request of this many bytes, and is the session's until it gives it back. */
  | { readonly kind: "request"; readonly at: number; readonly lengthBytes: number }
  /** There are notes. */
  | { readonly kind: "notes" }
  /** Nothing more can be received; the error that said so. */
  | { readonly kind: "ended"; readonly code: string; readonly message: string };

/** What a FUSE thread is made of. */
export interface FuseThreadOptions {
  readonly channel: BlockingChannel;
  /** What requests are received into: the session's own receive buffers. */
  readonly buffers: readonly Uint8Array[];
  readonly memory: ThreadMemory;
  readonly tell: (message: ThreadMessage) => void;
  /**
   * Answers a READ at once, without waiting for anything but the disk; `undefined` leaves it to the session. The bytes are sent before it is called again.
   * What it throws counts as `undefined`.
   */
  readonly read: (request: ThreadRead) => Uint8Array | undefined;
}

/**
 * Receives the requests of a FUSE connection in a thread that does nothing else: those that can be answered at once it answers, without an event loop in
 * between; the rest it leaves to the session, in the buffer that the kernel wrote them to. Returns when the connection has ended.
 */
export function runFuseThread(options: FuseThreadOptions): void {
  const { channel, buffers, tell, memory } = options;
  const { words } = memory;
  for (;;) {
    const at = takeBuffer(words, buffers.length);
    const buffer = buffers[at] as Uint8Array;
    let lengthBytes: number;
    try {
      lengthBytes = channel.receive(buffer);
    } catch (error) {
      const { code = "", message } = error as NodeJS.ErrnoException;
      if (RETRY.has(code)) continue;
      tell({ kind: "ended", code, message });
      return;
    }
    Atomics.add(words, WORDS.turn, 1);
    if (answer(options, buffer.subarray(0, lengthBytes))) {
      buffer.fill(0, 0, LENGTH_FIELD_BYTES); // as a journal's buffer is given back
    } else {
      Atomics.store(words, WORDS.firstBuffer + at, BUFFER_OF_SESSION);
      tell({ kind: "request", at, lengthBytes });
    }
    Atomics.add(words, WORDS.turn, 1);
  }
}

const LENGTH_FIELD_BYTES = 4;

/** Waits for a buffer that is the thread's. */
function takeBuffer(words: Int32Array, count: number): number {
  for (;;) {
    const seen = Atomics.load(words, WORDS.givenBack);
    for (let at = 0; at < count; at += 1) {
      if (Atomics.load(words, WORDS.firstBuffer + at) === BUFFER_OF_THREAD) return at;
    }
    Atomics.wait(words, WORDS.givenBack, seen);
  }
}

/** False if the session is to answer. */
function answer({ channel, memory, read, tell }: FuseThreadOptions, message: Uint8Array): boolean {
  const startedMs = performance.now();
  const request = readRequest(message);
  if (request === undefined || !hasRoom(memory.words)) return false;
  try {
    const bytes = read(request);
    if (bytes === undefined || bytes.length > request.sizeBytes) return false;
    channel.send([encodeOutHeader(request.unique, 0, bytes.length), bytes]);
  } catch (error) {
    const { code = "" } = error as NodeJS.ErrnoException;
    if (!NOT_WANTED.has(code)) return false;
  }
  note(memory, request, (performance.now() - startedMs) / 1000);
  if (Atomics.exchange(memory.words, WORDS.wantsNote, 0) === 1) tell({ kind: "notes" });
  return true;
}

function readRequest(message: Uint8Array): ThreadRead | undefined {
  try {
    const request = decodeRequest(message);
    return request.kind === "READ" ? request : undefined;
  } catch {
    return undefined; // the session says what is wrong with it
  }
}

function hasRoom(words: Int32Array): boolean {
  const kept = Atomics.load(words, WORDS.notesWritten) - Atomics.load(words, WORDS.notesRead);
  return kept >>> 0 < NOTES;
}

function note(
  { words, notes }: ThreadMemory,
  { nodeId, offset, sizeBytes }: ThreadRead,
  seconds: number,
): void {
  const written = Atomics.load(words, WORDS.notesWritten);
  notes.set([nodeId, offset, sizeBytes, seconds], (written & (NOTES - 1)) * NOTE_FIELDS);
  Atomics.store(words, WORDS.notesWritten, (written + 1) | 0);
}
