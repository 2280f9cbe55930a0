import type { FuseChannel } from "./channel.ts";
import type { ThreadMessage } from "./fuse-thread.ts";
import { BUFFER_OF_THREAD, NOTE_FIELDS, NOTES, type ThreadMemory, WORDS } from "./thread-memory.ts";

/** A READ that the thread has answered. */
export interface ThreadNote {
  readonly nodeId: number;
  readonly offset: number;
  readonly lengthBytes: number;
  readonly seconds: number;
}

/** What a {@link ThreadChannel} is made of. */
export interface ThreadChannelOptions {
  /** Sends replies; requests come from the thread. */
  readonly device: FuseChannel;
  /** The session's receive buffers; the thread has the same memory. */
  readonly buffers: readonly Uint8Array[];
  readonly memory: ThreadMemory;
  /** Told of what the thread has answered: before each request that it did not answer, and some time after the others. */
  readonly onNote: (note: ThreadNote) => void;
}

/** How long after a note the session looks for more. */
const NOTES_INTERVAL_MS = 200;

interface Waiting {
  readonly resolve: (lengthBytes: number) => void;
  readonly reject: (error: unknown) => void;
}

/** A session's channel whose requests a FUSE thread receives (`runFuseThread`): those that come here are those that it did not answer. */
export class ThreadChannel implements FuseChannel {
  readonly #options: ThreadChannelOptions;
  readonly #waiting = new Map<number, Waiting>();
  #ended: Error | undefined;
  #timer: NodeJS.Timeout | undefined;
  #answered = 0;
  #turn = 0;

  constructor(options: ThreadChannelOptions) {
    this.#options = options;
    this.#askForNote();
  }

  /** Requests that the thread has answered. */
  get answered(): number {
    return this.#answered;
  }

  receive(buffer: Uint8Array): Promise<number> {
    const { buffers, memory } = this.#options;
    const at = buffers.indexOf(buffer);
    if (at < 0) throw new RangeError("no receive buffer of this channel");
    if (this.#ended !== undefined) return Promise.reject(this.#ended);
    return new Promise((resolve, reject) => {
      this.#waiting.set(at, { resolve, reject });
      Atomics.store(memory.words, WORDS.firstBuffer + at, BUFFER_OF_THREAD);
      Atomics.add(memory.words, WORDS.givenBack, 1);
      Atomics.notify(memory.words, WORDS.givenBack);
    });
  }

  send(pieces: readonly Uint8Array[]): void {
    this.#options.device.send(pieces);
  }

  sendAside(message: Uint8Array): Promise<void> {
    return this.#options.device.sendAside(message);
  }

  /** Takes what the thread says. */
  told(message: ThreadMessage): void {
    if (message.kind === "notes") {
      this.#timer ??= setTimeout(() => this.#onTimer(), NOTES_INTERVAL_MS).unref();
      return;
    }
    this.takeNotes();
    if (message.kind === "ended") {
      this.#ended = Object.assign(new Error(message.message), { code: message.code });
      for (const { reject } of this.#waiting.values()) reject(this.#ended);
      this.#waiting.clear();
      return;
    }
    const waiting = this.#waiting.get(message.at);
    this.#waiting.delete(message.at);
    waiting?.resolve(message.lengthBytes);
  }

  /** Reads the notes that there are. */
  takeNotes(): void {
    const { words, notes } = this.#options.memory;
    const written = Atomics.load(words, WORDS.notesWritten);
    for (let at = Atomics.load(words, WORDS.notesRead); at !== written; at = (at + 1) | 0) {
      const start = (at & (NOTES - 1)) * NOTE_FIELDS;
      const [nodeId = 0, offset = 0, lengthBytes = 0, seconds = 0] = notes.subarray(
        start,
        start + NOTE_FIELDS,
      );
      this.#answered += 1;
      this.#options.onNote({ nodeId, offset, lengthBytes, seconds });
    }
    Atomics.store(words, WORDS.notesRead, written);
  }

  /** True if the thread works on the same request as when this was asked last. */
  isStuck(): boolean {
    const turn = Atomics.load(this.#options.memory.words, WORDS.turn);
    const isSame = turn === this.#turn && (turn & 1) === 1;
    this.#turn = turn;
    return isSame;
  }

  #onTimer(): void {
    this.#timer = undefined;
    // First: a note that comes meanwhile is not to wait for the one after it.
    this.#askForNote();
    this.takeNotes();
  }

  #askForNote(): void {
    Atomics.store(this.#options.memory.words, WORDS.wantsNote, 1);
  }
}
