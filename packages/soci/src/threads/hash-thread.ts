// The thread that hashes what the one beside it inflates.
import { type MessagePort, workerData } from "node:worker_threads";
import { DirectHasher } from "@soci-ts/layer-index/hasher";
import { ByteRing } from "./byte-ring.ts";
import { FRAME, FRAME_ALGORITHMS, FRAME_HEADER_BYTES } from "./hash-frames.ts";

/** What it is given. */
export interface HashThreadData {
  readonly frames: SharedArrayBuffer;
  /** Takes the digests of each layer. */
  readonly answers: MessagePort;
}

const { frames, answers } = workerData as HashThreadData;
const ring = new ByteRing(frames);
let hasher = new DirectHasher();
const HANDLERS: ReadonlyMap<number, (length: number) => void> = new Map([
  [FRAME.begin, begin],
  [FRAME.blob, (length: number) => eachPiece(length, (bytes) => hasher.blob(bytes))],
  [FRAME.content, (length: number) => eachPiece(length, (bytes) => hasher.content(bytes))],
  [FRAME.cut, (length: number) => hasher.cut(readWhole(length))],
  [FRAME.finish, () => answers.postMessage(hasher.finish())],
]);

// It blocks for ever where nothing comes: it is ended from outside.
for (;;) handleFrame();

function handleFrame(): void {
  const [kind = 0, length = 0] = new Uint32Array(readWhole(FRAME_HEADER_BYTES).buffer);
  const handle = HANDLERS.get(kind);
  if (handle === undefined) throw new Error(`Cannot hash: the frame has kind ${kind}`);
  handle(length);
}

function begin(length: number): void {
  const [blobAlgorithm, contentAlgorithm] = [...readWhole(length)].map(
    (number) => FRAME_ALGORITHMS[number],
  );
  hasher = new DirectHasher({ blobAlgorithm, contentAlgorithm });
}

/** The next few bytes, in one piece. */
function readWhole(length: number): Uint8Array<ArrayBuffer> {
  const whole = new Uint8Array(length);
  let at = 0;
  eachPiece(length, (bytes) => {
    whole.set(bytes, at);
    at += bytes.length;
  });
  return whole;
}

/** Takes the next `length` bytes of the ring, in as many pieces as they lie in. */
function eachPiece(length: number, take: (bytes: Uint8Array) => void): void {
  for (let left = length; left > 0; ) {
    const bytes = ring.view(left);
    if (bytes === undefined) throw new Error("Cannot hash: the ring has ended");
    take(bytes);
    left -= bytes.length;
    ring.release(bytes.length);
  }
}
