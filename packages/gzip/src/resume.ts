import {
  constants,
  createGunzip,
  createInflateRaw,
  type Gunzip,
  type InflateRaw,
  inflateRawSync,
  type ZlibOptions,
} from "node:zlib";
import { AppError, concatBytes, FormatError } from "@soci-ts/core";
import { alignToByte } from "./bit-phase.ts";
import { MAX_CHUNK_BYTES, MAX_EXPANSION } from "./limits.ts";
import { type Checkpoint, WINDOW_BYTES } from "./types.ts";

/** zlib then sees that all is said in its first call, and needs no second one. */
const SPARE_BYTES = 64;

const TRAILER_BYTES = 8;

type InflateStream = Gunzip | InflateRaw;

/** How to inflate. */
export interface InflateOptions {
  /**
   * True if `compressed` ends where the next checkpoint lies: then output behind what is wanted means that one of the two is not where its
   * index says. Default false.
   */
  readonly isWhole?: boolean;
}

/**
 * The `outputBytes` that follow a checkpoint, inflated in libuv's pool. `compressed` starts with the byte that the checkpoint
 * lies in: at `compressedOffset`, or one before if `bits` is not 0. It may end anywhere after what is needed; what lies behind
 * that is not looked at. Members that begin in it are checked against their trailers, the one that the checkpoint lies in
 * can't be. The result may be a view of a buffer 64 bytes larger.
 *
 * @throws FormatError if `compressed` gives fewer bytes (or more, with `isWhole`) or is not deflate; its offset is where `compressed` starts.
 * @throws AppError `invalid_argument` for a checkpoint or a length that can't be.
 */
export async function inflateFrom(
  checkpoint: Checkpoint,
  compressed: Uint8Array,
  outputBytes: number,
  options: InflateOptions = {},
): Promise<Uint8Array> {
  const isWhole = options.isWhole ?? false;
  checkArguments(checkpoint, outputBytes);
  const offset = offsetOf(checkpoint);
  if (outputBytes === 0) return new Uint8Array(0);
  if (outputBytes > compressed.length * MAX_EXPANSION) {
    throw shortError(offset, compressed.length, "at most", outputBytes);
  }
  try {
    const pieces = await inflatePieces(checkpoint, compressed, outputBytes + (isWhole ? 1 : 0));
    const output = pieces.length === 1 && pieces[0] !== undefined ? pieces[0] : concatBytes(pieces);
    return exactly(output, outputBytes, isWhole, { offset, have: compressed.length });
  } catch (error) {
    if (error instanceof AppError) throw error;
    throw damagedError(offset, error);
  }
}

/**
 * What {@link inflateFrom} does, in the calling thread and for one member only: for threads that have nothing else to do. Bytes that go on in another member
 * are an error here, and so is a `compressed` that gives over 64 bytes more than are wanted. The result has its memory for itself.
 * @throws what `inflateFrom` throws.
 */
export function inflateHere(
  checkpoint: Checkpoint,
  compressed: Uint8Array,
  outputBytes: number,
  options: InflateOptions = {},
): Uint8Array {
  checkArguments(checkpoint, outputBytes);
  const offset = offsetOf(checkpoint);
  if (outputBytes === 0) return new Uint8Array(0);
  const { head, rest } = alignToByte(compressed, checkpoint.bits);
  let output: Uint8Array;
  try {
    const zlibOptions = {
      dictionary: checkpoint.window,
      ...streamOptions(outputBytes),
      maxOutputLength: outputBytes + SPARE_BYTES,
    };
    output = inflateRawSync(concatBytes([head, rest]), zlibOptions);
  } catch (error) {
    throw damagedError(offset, error);
  }
  const range = { offset, have: compressed.length };
  return exactly(output, outputBytes, options.isWhole ?? false, range);
}

/**
 * All bytes that follow a checkpoint. `compressed` is as for {@link inflateFrom}, up to the end of the stream.
 * @throws FormatError if it is not deflate; AppError `resource_exhausted` if it gives more than `maxBytes`; what `inflateFrom` throws.
 */
export async function inflateRest(
  checkpoint: Checkpoint,
  compressed: Uint8Array,
  maxBytes: number,
): Promise<Uint8Array> {
  checkArguments(checkpoint, maxBytes);
  let pieces: Uint8Array[];
  try {
    pieces = await inflatePieces(checkpoint, compressed, maxBytes + 1);
  } catch (error) {
    throw damagedError(offsetOf(checkpoint), error);
  }
  if (lengthOf(pieces) <= maxBytes) return concatBytes(pieces);
  const state = `${compressed.length} compressed bytes give more than ${maxBytes}`;
  throw new AppError("resource_exhausted", `Cannot inflate the rest of a gzip stream: ${state}`);
}

function offsetOf({ compressedOffset, bits }: Checkpoint): number {
  return compressedOffset - (bits === 0 ? 0 : 1);
}

/** As much of the output as is wanted. */
function exactly(
  output: Uint8Array,
  outputBytes: number,
  isWhole: boolean,
  { offset, have }: { readonly offset: number; readonly have: number },
): Uint8Array {
  if (isWhole && output.length > outputBytes) throw longError(offset, have, outputBytes);
  if (output.length < outputBytes) {
    throw shortError(offset, have, `${output.length} of`, outputBytes);
  }
  return new Uint8Array(output.buffer, output.byteOffset, outputBytes);
}

async function inflatePieces(
  checkpoint: Checkpoint,
  compressed: Uint8Array,
  outputBytes: number,
): Promise<Uint8Array[]> {
  const { head, rest } = alignToByte(compressed, checkpoint.bits);
  const options = { dictionary: checkpoint.window, ...streamOptions(outputBytes) };
  const first = createInflateRaw(options);
  if (head.length > 0) first.write(head);
  const pieces = await drain(first, rest, outputBytes);
  const missing = outputBytes - lengthOf(pieces);
  const nextMember = first.bytesWritten - head.length + TRAILER_BYTES;
  if (missing <= 0 || nextMember >= rest.length) return pieces;
  // The native side of gunzip goes from member to member by itself, which many tiny ones need.
  const others = createGunzip(streamOptions(missing));
  pieces.push(...(await drain(others, rest.subarray(nextMember), missing)));
  return pieces;
}

function streamOptions(outputBytes: number): ZlibOptions {
  return {
    chunkSize: Math.min(outputBytes + SPARE_BYTES, MAX_CHUNK_BYTES),
    finishFlush: constants.Z_SYNC_FLUSH,
  };
}

/** Inflates until at least `wanted` bytes are there or the stream has no more; leaving the loop destroys the stream. */
async function drain(
  stream: InflateStream,
  input: Uint8Array,
  wanted: number,
): Promise<Uint8Array[]> {
  const pieces: Uint8Array[] = [];
  let have = 0;
  stream.end(input);
  for await (const piece of stream as AsyncIterable<Uint8Array>) {
    pieces.push(piece);
    have += piece.length;
    if (have >= wanted) break;
  }
  return pieces;
}

function lengthOf(pieces: readonly Uint8Array[]): number {
  return pieces.reduce((sum, piece) => sum + piece.length, 0);
}

function checkArguments(checkpoint: Checkpoint, outputBytes: number): void {
  const { bits, window } = checkpoint;
  const isPhase = Number.isInteger(bits) && bits >= 0 && bits <= 7;
  const isLength = Number.isSafeInteger(outputBytes) && outputBytes >= 0;
  if (isPhase && isLength && window.length === WINDOW_BYTES) return;
  throw new AppError(
    "invalid_argument",
    `Cannot inflate ${outputBytes} bytes from a checkpoint with bits ${bits} and a window of ${window.length} bytes: want bits 0–7 and ${WINDOW_BYTES} bytes`,
  );
}

function shortError(offset: number, have: number, gives: string, want: number): FormatError {
  const state = `${have} compressed bytes give ${gives} the ${want} bytes that are wanted`;
  return new FormatError("gzip span", offset, state);
}

function longError(offset: number, have: number, want: number): FormatError {
  const state = `${have} compressed bytes give more than the ${want} bytes that are wanted`;
  return new FormatError("gzip span", offset, state);
}

function damagedError(offset: number, cause: unknown): FormatError {
  const state = `the data is damaged: ${AppError.from(cause).message}`;
  return new FormatError("gzip span", offset, state, { cause });
}
