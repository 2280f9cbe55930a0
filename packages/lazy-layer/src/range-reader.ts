import { AppError, abortable } from "@soci-ts/core";

/** How a {@link RangeReader} is watched. */
export interface RangeReaderOptions {
  /** What is read, for messages. */
  readonly what: string;
  readonly signal: AbortSignal;
  /** Give up when nothing arrives for this long. */
  readonly stallTimeoutMs: number;
  /** Told of every piece that arrives. */
  readonly onBytes: (count: number) => void;
}

/** Fills buffers from a stream of pieces, in order. Never waits for a source longer than allowed, whether or not it heeds its signal. */
export class RangeReader implements Disposable {
  readonly #pieces: AsyncIterator<Uint8Array>;
  readonly #options: RangeReaderOptions;
  #rest: Uint8Array = new Uint8Array(0);

  constructor(stream: AsyncIterable<Uint8Array>, options: RangeReaderOptions) {
    this.#pieces = stream[Symbol.asyncIterator]();
    this.#options = options;
  }

  /**
   * Fills all of `target`.
   * @throws AppError `unavailable` if the stream ends before, `deadline_exceeded` if it stalls; what the stream throws.
   */
  async fill(target: Uint8Array): Promise<void> {
    let done = 0;
    while (done < target.length) {
      if (this.#rest.length === 0) this.#rest = await this.#next();
      const part = this.#rest.subarray(0, target.length - done);
      target.set(part, done);
      done += part.length;
      this.#rest = this.#rest.subarray(part.length);
    }
  }

  /** Tells the stream that no more is wanted, and does not wait for it. */
  [Symbol.dispose](): void {
    const ended = this.#pieces.return?.();
    // What a stream says when it is told to stop is of no interest any more.
    ended?.then(undefined, () => {});
  }

  async #next(): Promise<Uint8Array> {
    const { what, signal, stallTimeoutMs, onBytes } = this.#options;
    const stall = new AbortController();
    const timer = setTimeout(() => {
      stall.abort(
        new AppError(
          "deadline_exceeded",
          `Cannot fetch ${what}: nothing arrived for ${stallTimeoutMs} ms`,
        ),
      );
    }, stallTimeoutMs);
    try {
      const next = abortable(this.#pieces.next(), stall.signal);
      const { done, value } = await abortable(next, signal);
      if (done) throw new AppError("unavailable", `Cannot fetch ${what}: the body ended too early`);
      onBytes(value.length);
      return value;
    } finally {
      clearTimeout(timer);
    }
  }
}
