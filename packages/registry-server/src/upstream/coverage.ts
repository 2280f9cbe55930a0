import type { ByteRange } from "../range.ts";

/** Which bytes of a content are here: half-open ranges, in order, that do not touch. */
export class Coverage {
  #ranges: ByteRange[] = [];

  /** Adds the bytes of [start, end). */
  add(start: number, end: number): void {
    if (start >= end) return;
    const apart = this.#ranges.filter((range) => range.end < start || range.start > end);
    const touching = this.#ranges.filter((range) => range.end >= start && range.start <= end);
    const merged = {
      start: Math.min(start, ...touching.map((range) => range.start)),
      end: Math.max(end, ...touching.map((range) => range.end)),
    };
    this.#ranges = [...apart, merged].sort((a, b) => a.start - b.start);
  }

  /** The end (exclusive) of the bytes that are here from `offset` on; `offset` itself if that byte is not. */
  endFrom(offset: number): number {
    const range = this.#ranges.find(({ start, end }) => start <= offset && offset < end);
    return range?.end ?? offset;
  }

  /** The first byte at or after `offset` that is here; undefined if there is none. */
  nextFrom(offset: number): number | undefined {
    const range = this.#ranges.find(({ end }) => end > offset);
    return range && Math.max(range.start, offset);
  }
}
