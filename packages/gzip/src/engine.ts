import type { EngineName } from "./types.ts";

/**
 * Why an engine stopped: `more` it ran out of input or output room, or at a place that is no checkpoint; `block` it stands
 * between two deflate blocks; `end` it has passed the final block; `invalid` the input is not deflate.
 */
export type InflateOutcome = "more" | "block" | "end" | "invalid";

/** `at-block` stops after each block; `at-room` runs over block ends until input or room is used up, which is faster. */
export type InflateStop = "at-block" | "at-room";

/**
 * A decoder of raw deflate (RFC 1951) between one input piece and one linear output buffer, both addressed by cursors that
 * the scan may set and the engine moves. It knows nothing of gzip, spans or checkpoints.
 */
export interface InflateEngine extends Disposable {
  readonly name: EngineName;
  /** Largest piece that {@link load} takes. */
  readonly maxInputBytes: number;
  /** First byte of the loaded input that has not been used. */
  inputAt: number;
  /** Where in the output buffer the next byte goes. */
  outputAt: number;
  /** After `block`: how many high bits of the last used byte belong to the next block, 0–7. */
  readonly bits: number;
  /** Makes `input` the current piece and sets `inputAt` to 0; it must stay unchanged until the next call. */
  load(input: Uint8Array): void;
  /** Forgets all history: a new deflate stream starts at `inputAt`. */
  reset(): void;
  /** Decodes until `stop` says, never writing at or beyond `outputEnd`. Bytes from `outputAt` to there may hold rubbish after. */
  inflate(outputEnd: number, stop: InflateStop): InflateOutcome;
}

/** Bits of `data_type` after an inflate call, zlib.h: the low three bits count the unused bits. */
const AFTER_LAST_BLOCK = 64;
const AT_BLOCK_END = 128;

/** Tells from zlib's `data_type` whether the inflater stands between two blocks. */
export function isBetweenBlocks(dataType: number): boolean {
  return (dataType & (AT_BLOCK_END | AFTER_LAST_BLOCK)) === AT_BLOCK_END;
}

/** The unused bits that zlib's `data_type` tells of. */
export function unusedBits(dataType: number): number {
  return dataType & 7;
}
