import { AppError, type IoOptions, type Logger } from "@soci-ts/core";
import type { RangeBlob } from "@soci-ts/lazy-layer";
import type { Descriptor } from "@soci-ts/oci";
import type { JsonValue } from "../mount-record.ts";
import type { BlobOpener } from "../open-slot.ts";
import type { Sources } from "./sources.ts";

/** Opens the blobs of one source. Called for each read of a registry, so it should do no I/O itself. */
export type OpenBlobs = (source: JsonValue) => Promise<BlobOpener>;

/** Where a layer's blob is read from: the sources that its record names, in order, and the next one when one fails. */
export interface SourceBlobsOptions {
  /** Read anew for each attempt, so that a source that was added meanwhile counts. */
  readonly sources: () => Promise<readonly JsonValue[]>;
  readonly openBlobs: OpenBlobs;
  /** What is known of all sources: one that has failed lately is asked last. */
  readonly known: Sources;
  /** How long a source may say nothing while there is another one. */
  readonly patienceMs: number;
  readonly logger: Logger;
}

/** A layer's blobs out of several sources. Bytes are verified above, so it does not matter which source they come from. */
export function sourceBlobs(options: SourceBlobsOptions): BlobOpener {
  return { openBlob: (descriptor) => new SourceBlob(descriptor, options) };
}

class SourceBlob implements RangeBlob {
  readonly size: number;
  readonly #descriptor: Descriptor;
  readonly #options: SourceBlobsOptions;
  /** By source: a blob remembers which host has it, and where that redirects to. */
  readonly #blobs = new Map<string, RangeBlob>();

  constructor(descriptor: Descriptor, options: SourceBlobsOptions) {
    this.size = descriptor.size;
    this.#descriptor = descriptor;
    this.#options = options;
  }

  async readAt(offset: number, length: number, options: IoOptions = {}): Promise<Uint8Array> {
    const bytes = new Uint8Array(length);
    let at = 0;
    for await (const piece of this.stream(offset, offset + length, options)) {
      bytes.set(piece, at);
      at += piece.length;
    }
    return bytes;
  }

  /** Goes on with the next source where one stopped, or sends nothing any more. */
  async *stream(start: number, end: number, options: IoOptions = {}): AsyncGenerator<Uint8Array> {
    let at = start;
    let failure: unknown = new AppError("failed_precondition", this.#message("no source is known"));
    const { known, sources, patienceMs } = this.#options;
    const order = known.inOrder(await sources());
    for (const [position, source] of order.entries()) {
      const isLast = position === order.length - 1;
      try {
        const blob = await this.#blobOf(source);
        const open = (signal: AbortSignal | undefined): AsyncIterable<Uint8Array> =>
          blob.stream(at, end, { signal });
        for await (const piece of isLast
          ? open(options.signal)
          : this.#impatiently(open, patienceMs, options)) {
          at += piece.length;
          yield piece;
        }
        if (at < end)
          throw new AppError("data_loss", this.#message(`it ended at ${at}, want ${end}`));
        known.noteSuccess(source);
        return;
      } catch (error) {
        options.signal?.throwIfAborted();
        failure = error;
        known.noteFailure(source);
        this.#logFailure(AppError.from(error));
      }
    }
    throw failure;
  }

  /** The stream as long as it does not pause for longer than that; what the taker does meanwhile does not count. */
  async *#impatiently(
    open: (signal: AbortSignal) => AsyncIterable<Uint8Array>,
    patienceMs: number,
    { signal }: IoOptions,
  ): AsyncGenerator<Uint8Array> {
    const abort = new AbortController();
    const leave = (): void => abort.abort(signal?.reason);
    const giveUp = (): void => {
      const message = this.#message(`nothing came for ${patienceMs} ms`);
      abort.abort(new AppError("deadline_exceeded", message));
    };
    if (signal?.aborted) leave();
    signal?.addEventListener("abort", leave, { once: true });
    let timer = setTimeout(giveUp, patienceMs);
    try {
      for await (const piece of open(abort.signal)) {
        clearTimeout(timer);
        yield piece;
        timer = setTimeout(giveUp, patienceMs);
      }
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener("abort", leave);
    }
  }

  distrust(): void {
    for (const blob of this.#blobs.values()) blob.distrust?.();
  }

  async #blobOf(source: JsonValue): Promise<RangeBlob> {
    const key = JSON.stringify(source);
    const known = this.#blobs.get(key);
    if (known !== undefined) return known;
    const blob = (await this.#options.openBlobs(source)).openBlob(this.#descriptor);
    this.#blobs.set(key, blob);
    return blob;
  }

  #logFailure({ code, message }: AppError): void {
    this.#options.logger.warn("source of a layer failed", { code, error: message });
  }

  #message(state: string): string {
    return `Cannot fetch layer ${this.#descriptor.digest}: ${state}`;
  }
}
