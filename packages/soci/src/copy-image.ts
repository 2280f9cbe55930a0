import { AppError, type Digest, type IoOptions, Semaphore } from "@soci-ts/core";
import {
  type Descriptor,
  isForeignLayer,
  type Manifest,
  type ParsedManifest,
  parseManifest,
  type RepositoryName,
} from "@soci-ts/oci";
import type { BlobContent } from "@soci-ts/registry-client";
import type { DocumentReader } from "./image-source.ts";
import type { BlobOutcome, ImageTarget } from "./image-target.ts";
import { BLOBS_AT_ONCE, MAX_INDEX_DEPTH } from "./limits.ts";
import { wrapped } from "./wrapped.ts";

/** What is copied: verified documents, and blobs as streams. */
export interface CopySource extends Pick<DocumentReader, "readManifest"> {
  /** A blob's content; nothing is read before it is wanted. `mountFrom` says where in a registry it is. */
  openContent(
    descriptor: Descriptor,
    options?: IoOptions,
  ): { readonly content: BlobContent; readonly mountFrom?: RepositoryName | undefined };
}

/** Told after each blob that was wanted at the target. */
export interface CopyProgress {
  readonly descriptor: Descriptor;
  readonly outcome: BlobOutcome;
}

/** Blobs that were sent; those that the target had, or that were mounted there, are not counted. */
export interface CopyCounts {
  readonly blobsSent: number;
  readonly bytesSent: number;
}

/** Copies what an image index names to a target: each blob once, as a stream, and only if the target lacks it. */
export class ImageCopier {
  readonly #source: CopySource;
  readonly #target: ImageTarget;
  readonly #onCopied: ((progress: CopyProgress) => void) | undefined;
  readonly #permits = new Semaphore(BLOBS_AT_ONCE);
  readonly #done = new Set<Digest>();
  #blobsSent = 0;
  #bytesSent = 0;

  constructor(
    source: CopySource,
    target: ImageTarget,
    onCopied?: ((progress: CopyProgress) => void) | undefined,
  ) {
    this.#source = source;
    this.#target = target;
    this.#onCopied = onCopied;
  }

  /** What was sent so far. */
  get counts(): CopyCounts {
    return { blobsSent: this.#blobsSent, bytesSent: this.#bytesSent };
  }

  /**
   * Copies the documents that `entries` name and what those name in turn, each document after its parts.
   * @param depth - of the image index that has the entries; 0 is the image's own.
   * @throws AppError `unimplemented` for an entry that is no manifest; `failed_precondition` if indexes are nested deeper than the limit.
   */
  async copyEntries(entries: readonly Descriptor[], options: IoOptions, depth = 0): Promise<void> {
    if (depth > MAX_INDEX_DEPTH) {
      throw new AppError(
        "failed_precondition",
        `Cannot copy the image: its image indexes are nested more than ${MAX_INDEX_DEPTH} deep`,
      );
    }
    for (const entry of entries) {
      if (this.#done.has(entry.digest)) continue;
      this.#done.add(entry.digest);
      const bytes = await this.#source.readManifest(entry, options);
      const document = parsedEntry(entry, bytes);
      if (document.kind === "manifest") await this.#copyBlobs(document.manifest, options);
      else await this.copyEntries(document.index.manifests, options, depth + 1);
      await this.#target.putManifest(entry, bytes, options);
    }
  }

  async #copyBlobs(manifest: Manifest, options: IoOptions): Promise<void> {
    const blobs = [manifest.config, ...manifest.layers].filter(
      ({ mediaType, digest }) => !isForeignLayer(mediaType) && !this.#done.has(digest),
    );
    const distinct = new Map(blobs.map((blob) => [blob.digest, blob]));
    const copy = (blob: Descriptor) => () => this.#copyBlob(blob, options);
    await Promise.all(
      [...distinct.values()].map((blob) => this.#permits.run(copy(blob), options.signal)),
    );
  }

  async #copyBlob(descriptor: Descriptor, { signal }: IoOptions): Promise<void> {
    const { content, mountFrom } = this.#source.openContent(descriptor, { signal });
    const outcome = await this.#target.putBlob(descriptor, content, { signal, mountFrom });
    this.#done.add(descriptor.digest);
    if (outcome === "sent") {
      this.#blobsSent += 1;
      this.#bytesSent += descriptor.size;
    }
    this.#onCopied?.({ descriptor, outcome });
  }
}

function parsedEntry(descriptor: Descriptor, bytes: Uint8Array): ParsedManifest {
  try {
    return parseManifest(bytes, descriptor.mediaType);
  } catch (error) {
    const { message } = AppError.from(error);
    throw wrapped(`Cannot copy ${descriptor.digest}: ${message}`, error, "unimplemented");
  }
}
