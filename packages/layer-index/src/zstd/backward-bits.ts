import type { BlockInput } from "./block-input.ts";

/** Most bits of one read. */
export const MOST_BITS = 24;

/** A bit stream that is read from its end, where a set bit marks it (RFC 8878 §4.1). */
export class BackwardBits {
  readonly #view: DataView;
  readonly #start: number;
  /** Bits that are left; less than 0 if more were read than there are, which gave zeros. */
  left: number;

  constructor(input: BlockInput, start: number, end: number) {
    const last = end > start ? (input.bytes[end - 1] as number) : 0;
    if (last === 0) input.fail("a bit stream has no end mark");
    this.#view = input.view;
    this.#start = start;
    this.left = (end - start - 1) * 8 + 31 - Math.clz32(last);
  }

  /** The next `count` bits, at most {@link MOST_BITS}. */
  read(count: number): number {
    const from = this.left - count;
    this.left = from;
    if (from < 0) return this.#readPast(from, count);
    const word = this.#view.getUint32(this.#start + (from >> 3), true);
    return (word >>> (from & 7)) & ((1 << count) - 1);
  }

  /** What is before the first bit is 0. */
  #readPast(from: number, count: number): number {
    if (from <= -count) return 0;
    return (this.#view.getUint32(this.#start, true) << -from) & ((1 << count) - 1);
  }
}
