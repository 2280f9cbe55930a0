import type { FileHandle } from "node:fs/promises";
import type { Digest } from "@soci-ts/core";
import type { Platform } from "@soci-ts/oci";

/** A ztoc as an index names it. */
export interface ZtocRecord {
  readonly digest: Digest;
  /** Length of the ztoc itself. */
  readonly sizeBytes: number;
  /** The layer's blob, which the ztoc describes. */
  readonly layerDigest: Digest;
  readonly layerMediaType: string;
  readonly spanSizeBytes: number;
  /** False if it was not built on this machine from the layer itself, but taken from a registry. Default true. */
  readonly builtHere?: boolean;
}

/**
 * A SOCI index in the catalogue. Its bytes, and those of its ztocs, are blobs of the store. {@link Store.findZtoc} lends its ztocs to
 * other images with the same layer if they were built on this machine.
 */
export interface IndexRecord {
  readonly digest: Digest;
  /** The image manifest that the index belongs to. */
  readonly manifestDigest: Digest;
  /** The name under which the image was indexed; one index may be in the catalogue under several. */
  readonly reference: string;
  readonly platform: Platform;
  readonly artifactType: string;
  /** Length of the index manifest. */
  readonly sizeBytes: number;
  readonly createdAt: Date;
  /** In the order of the index manifest. */
  readonly ztocs: readonly ZtocRecord[];
  /** Likewise; absent if there are none. */
  readonly prefetchLists?: readonly PrefetchListRecord[] | undefined;
}

/** A list of spans to fetch early, as an index names it. */
export interface PrefetchListRecord {
  readonly digest: Digest;
  readonly sizeBytes: number;
  /** The layer's blob, whose spans it lists. */
  readonly layerDigest: Digest;
}

/** What names a blob. */
export interface BlobRecord {
  readonly digest: Digest;
  readonly sizeBytes: number;
}

/** How to write a blob. */
export interface WriteBlobOptions {
  /** The sha256 of the bytes, if the caller has computed it (in another thread, say): it is believed. */
  readonly digest?: Digest;
}

/**
 * Whose work the ztoc of a layer is: `ours` from now on until it is settled; `theirs`, being made by another process or another
 * part of this one; or `made` by one that still runs, which has it in the store.
 */
export type ZtocClaim =
  | { readonly kind: "ours" }
  | { readonly kind: "theirs" }
  | ({ readonly kind: "made" } & BlobRecord);

/** How much of a blob may be read into memory. */
export interface ReadBlobOptions {
  /** Default: 1 GiB. */
  readonly maxBytes?: number;
}

/** Which indexes to list; all when empty. */
export interface IndexFilter {
  readonly manifestDigest?: Digest;
  readonly reference?: string;
}

/** Directories of the store that belong to other rooms. */
export type StoreDirectory = "layers" | "mounts" | "images";

/**
 * The local store: blobs by digest and a catalogue of SOCI indexes. Any number of processes may have it open at once, and any
 * may be killed at any point.
 *
 * Life of a blob: `writeBlob` puts it on the disk and *holds* it for this process; `addIndex` names it in the catalogue, and
 * the hold goes. A blob that no index names and no living process holds is garbage: `removeIndex` deletes those that it
 * leaves behind, and `openStore` those older than a day.
 */
export interface Store extends AsyncDisposable {
  /** The store's root directory, absolute. */
  readonly root: string;
  /** True if a blob with this digest is on the disk. Its content is checked when it is read. */
  hasBlob(digest: Digest): Promise<boolean>;
  /**
   * The blob's bytes, digest checked.
   * @throws AppError `not_found`; `resource_exhausted` if it is larger than `maxBytes`; DigestMismatchError if the file is damaged
   * (write the blob again to mend it).
   */
  readBlob(digest: Digest, options?: ReadBlobOptions): Promise<Uint8Array>;
  /** Stores bytes under their sha256 digest: either the whole blob is on the disk, flushed, when this resolves, or none. Idempotent. */
  writeBlob(bytes: Uint8Array, options?: WriteBlobOptions): Promise<BlobRecord>;
  /**
   * The same for bytes that come in pieces, each of which is written before the next is asked for. Digest and size are believed: whoever made
   * the pieces computed them.
   */
  writePieces(record: BlobRecord, pieces: AsyncIterable<Uint8Array>): Promise<BlobRecord>;
  /** Where the blob's file is, or would be. Never write to it. */
  blobPath(digest: Digest): string;
  /**
   * Adds an index in one transaction. Adding it again, also under a further reference, is fine.
   * @throws AppError `failed_precondition` if the blob of the index or of a ztoc is not in the store.
   */
  addIndex(index: IndexRecord): Promise<void>;
  /** Newest first; an index with several references comes once for each. */
  listIndexes(filter?: IndexFilter): IndexRecord[];
  /** The index, under the reference it got last; undefined if the catalogue has none. */
  getIndex(digest: Digest): IndexRecord | undefined;
  /**
   * Removes an index with all its references, and the blobs that nothing else needs.
   * @throws AppError `not_found`.
   */
  removeIndex(digest: Digest): Promise<void>;
  /** Every ztoc once, by digest. */
  listZtocs(): ZtocRecord[];
  /** The ztoc's record; undefined if no index names it. */
  getZtoc(digest: Digest): ZtocRecord | undefined;
  /** The newest ztoc for this layer with this span size that was built here. */
  findZtoc(layerDigest: Digest, spanSizeBytes: number): ZtocRecord | undefined;
  /**
   * Asks to be the one that makes the ztoc of a layer. Who got `ours` settles it, whatever happens; a claim of a process that ended is
   * as good as none.
   */
  claimZtoc(layerDigest: Digest, spanSizeBytes: number): ZtocClaim;
  /** Ends a claim that was `ours`: with the ztoc, which is in the store, or without if it could not be made. */
  settleClaim(layerDigest: Digest, spanSizeBytes: number, made: BlobRecord | undefined): void;
  /** The path of a directory for another room's files, made if absent (mode 0700). */
  directory(name: StoreDirectory): Promise<string>;
  /** An empty file on the store's disk, to be written and read, that has no name: it is gone when it is closed, however the process ends. */
  temporaryFile(): Promise<FileHandle>;
  /** Lets go of the blobs held by this instance and of its claims, and closes the catalogue. Idempotent. */
  close(): Promise<void>;
}
