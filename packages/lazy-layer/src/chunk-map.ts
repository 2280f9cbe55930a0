import type { Span } from "@soci-ts/layer-index";

/** Bytes of a chunk, the unit of the cache file: what is checked, and read from the disk, at least. */
export const CHUNK_BYTES = 65536;

/** A chunk and the tar bytes it holds. */
export interface Chunk {
  readonly number: number;
  readonly start: number;
  readonly end: number;
}

/**
 * How a layer's tar is cut into spans and these into chunks. Chunks start anew at each span, so a span fills whole chunks and
 * what one span brings never waits for its neighbour; the last chunk of a span may be short.
 */
export class ChunkMap {
  readonly spans: readonly Span[];
  /** The end of the tar. */
  readonly sizeBytes: number;
  /** Number of chunks. */
  readonly count: number;
  readonly #firstChunks: Float64Array;

  constructor(spans: readonly Span[]) {
    this.spans = spans;
    this.sizeBytes = spans.at(-1)?.uncompressedEnd ?? 0;
    this.#firstChunks = new Float64Array(spans.length + 1);
    let chunks = 0;
    for (const [at, span] of spans.entries()) {
      this.#firstChunks[at] = chunks;
      chunks += Math.ceil((span.uncompressedEnd - span.uncompressedStart) / CHUNK_BYTES);
    }
    this.#firstChunks[spans.length] = chunks;
    this.count = chunks;
  }

  /** The span at this index. */
  span(at: number): Span {
    const span = this.spans[at];
    if (span === undefined) throw new RangeError(`no span ${at} of ${this.spans.length}`);
    return span;
  }

  /** The index of the span that holds the tar byte at `offset`, which must be before the tar's end. */
  spanAt(offset: number): number {
    let low = 0;
    let high = this.spans.length;
    while (high - low > 1) {
      const middle = Math.floor((low + high) / 2);
      if (this.span(middle).uncompressedStart <= offset) low = middle;
      else high = middle;
    }
    return low;
  }

  /** First and end (exclusive) chunk of a span. */
  chunksOfSpan(at: number): { readonly first: number; readonly end: number } {
    return { first: this.#firstChunks[at] ?? 0, end: this.#firstChunks[at + 1] ?? 0 };
  }

  /** The chunks that hold the tar bytes of [start, end), in order. */
  *chunks(start: number, end: number): Generator<Chunk> {
    if (start >= end) return;
    for (let at = this.spanAt(start); at < this.spans.length; at += 1) {
      const { uncompressedStart, uncompressedEnd } = this.span(at);
      if (uncompressedStart >= end) return;
      const skipped = Math.max(0, Math.floor((start - uncompressedStart) / CHUNK_BYTES));
      let number = this.chunksOfSpan(at).first + skipped;
      let from = uncompressedStart + skipped * CHUNK_BYTES;
      while (from < Math.min(end, uncompressedEnd)) {
        const to = Math.min(from + CHUNK_BYTES, uncompressedEnd);
        yield { number, start: from, end: to };
        number += 1;
        from = to;
      }
    }
  }

  /** The parts of [start, end) that lie in one span each, in order. */
  *pieces(
    start: number,
    end: number,
  ): Generator<{ readonly span: number; readonly start: number; readonly end: number }> {
    if (start >= end) return;
    for (let at = this.spanAt(start); at < this.spans.length; at += 1) {
      const { uncompressedStart, uncompressedEnd } = this.span(at);
      if (uncompressedStart >= end) return;
      const piece = {
        span: at,
        start: Math.max(start, uncompressedStart),
        end: Math.min(end, uncompressedEnd),
      };
      if (piece.start < piece.end) yield piece;
    }
  }
}
