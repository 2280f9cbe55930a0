import { type ByteSource, bytesSource } from "@soci-ts/core";
import type { RangeBlob } from "../types.ts";

/** One range request that was made of a {@link MemoryBlob}. */
export interface SeenRange {
  readonly start: number;
  readonly end: number;
  /** Bytes given out. */
  sentBytes: number;
  /** The taker left before the end. */
  isAbandoned: boolean;
}

/** What a {@link MemoryBlob} does for one request instead of plainly answering. */
export type RangeAnswer = (
  bytes: Uint8Array,
  signal: AbortSignal | undefined,
) => AsyncIterable<Uint8Array>;

/** A blob in memory that keeps account of requests, and answers them wrongly when told to. */
export class MemoryBlob implements RangeBlob {
  readonly size: number;
  readonly seen: SeenRange[] = [];
  /** How often its bytes were said to be wrong. */
  distrusted = 0;
  /** Chooses the answer to the request with this number (from 0); undefined is the plain one. */
  answer: (request: number, start: number, end: number) => RangeAnswer | undefined = () =>
    undefined;
  pieceBytes = 40_000;
  readonly #bytes: Uint8Array;
  readonly #source: ByteSource;

  constructor(bytes: Uint8Array) {
    this.size = bytes.length;
    // A copy that is no Buffer: a Buffer's slice() is a view, and answers alter theirs.
    this.#bytes = new Uint8Array(bytes);
    this.#source = bytesSource(this.#bytes);
  }

  readAt(offset: number, length: number): Promise<Uint8Array> {
    return this.#source.readAt(offset, length);
  }

  distrust(): void {
    this.distrusted += 1;
  }

  get bytesSent(): number {
    return this.seen.reduce((sum, { sentBytes }) => sum + sentBytes, 0);
  }

  async *stream(
    start: number,
    end: number,
    { signal }: { readonly signal?: AbortSignal | undefined } = {},
  ): AsyncIterable<Uint8Array> {
    const range: SeenRange = { start, end, sentBytes: 0, isAbandoned: true };
    const answer = this.answer(this.seen.length, start, end) ?? plainAnswer(this.pieceBytes);
    this.seen.push(range);
    try {
      for await (const piece of answer(this.#bytes.slice(start, end), signal)) {
        signal?.throwIfAborted();
        range.sentBytes += piece.length;
        yield piece;
      }
    } finally {
      range.isAbandoned = range.sentBytes < end - start;
    }
  }
}

/** All of the bytes, in pieces. */
export function plainAnswer(pieceBytes: number): RangeAnswer {
  return async function* answer(bytes) {
    for (let at = 0; at < bytes.length; at += pieceBytes) {
      yield bytes.subarray(at, at + pieceBytes);
    }
  };
}

/** The first `count` bytes, then `error`, or an early end if there is none. */
export function cutAnswer(count: number, error?: Error): RangeAnswer {
  return async function* answer(bytes) {
    yield bytes.subarray(0, count);
    if (error !== undefined) throw error;
  };
}

/** All of the bytes, the one at `offset` flipped. */
export function flippedAnswer(offset: number): RangeAnswer {
  return async function* answer(bytes) {
    const wrong = bytes.slice();
    wrong[offset] = 255 - (wrong[offset] ?? 0);
    yield wrong;
  };
}

/** The first `count` bytes, and nothing more until the signal aborts (or ever, if it is to be ignored). */
export function hangingAnswer(
  count: number,
  options: { readonly isDeaf?: boolean } = {},
): RangeAnswer {
  return async function* answer(bytes, signal) {
    if (count > 0) yield bytes.subarray(0, count);
    await new Promise((_resolve, reject) => {
      if (!options.isDeaf) signal?.addEventListener("abort", () => reject(signal.reason));
    });
  };
}
