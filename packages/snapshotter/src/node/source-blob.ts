import { AppError, type IoOptions, type Logger } from "@soci-ts/core";
import type { RangeBlob } from "@soci-ts/lazy-layer";
import type { Descriptor } from "@soci-ts/oci";
import type { JsonValue } from "../mount-record.ts";
import type { BlobOpener } from "../open-slot.ts";

/** Opens the blobs of one source. Called for each read of a registry, so it should do no I/O itself. */
export type OpenBlobs = (source: JsonValue) => Promise<BlobOpener>;

/** Where a layer's blob is read from: the sources that its record names, in order, and the next one when one fails. */
export interface SourceBlobsOptions {
  /** Read anew for each attempt, so that a source that was added meanwhile counts. */
  readonly sources: () => Promise<readonly JsonValue[]>;
  readonly openBlobs: OpenBlobs;
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

  /** Goes on with the next source where one stopped. */
  async *stream(start: number, end: number, options: IoOptions = {}): AsyncGenerator<Uint8Array> {
    let at = start;
    let failure: unknown = new AppError("failed_precondition", this.#message("no source is known"));
    for (const source of await this.#options.sources()) {
      try {
        const blob = await this.#blobOf(source);
        for await (const piece of blob.stream(at, end, options)) {
          at += piece.length;
          yield piece;
        }
        if (at === end) return;
        const missing = new AppError("data_loss", this.#message(`it ended at ${at}, want ${end}`));
        failure = missing;
        this.#logFailure(missing);
      } catch (error) {
        options.signal?.throwIfAborted();
        failure = error;
        this.#logFailure(AppError.from(error));
      }
    }
    throw failure;
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
