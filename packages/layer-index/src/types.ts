import type { Digest } from "@soci-ts/core";
import type { Checkpoint } from "@soci-ts/gzip";
import type { TarEntry } from "@soci-ts/tar";
import type { CheckpointSequence } from "./packed-checkpoints.ts";
import type { EntrySequence } from "./packed-entries.ts";

/** How a layer's blob is compressed. Only `gzip` and `none` can be read at any offset; `zstd` layers are streamed whole. */
export type LayerCompression = "gzip" | "none" | "zstd";

/**
 * An independently readable piece of a layer: half-open ranges in the blob and in the uncompressed tar. Two neighbours share
 * a blob byte where the border lies inside it (`soci-format.md` §2.6).
 */
export interface Span {
  readonly compressedStart: number;
  readonly compressedEnd: number;
  readonly uncompressedStart: number;
  readonly uncompressedEnd: number;
  /** Digest of the blob's bytes in [compressedStart, compressedEnd). */
  readonly digest: Digest;
}

/** Neighbouring spans of a layer, by number; both are among them, as in SOCI's prefetch lists. */
export interface SpanRange {
  readonly startSpan: number;
  readonly endSpan: number;
}

/**
 * The neutral model of one layer: what every index format says in its own way. It suffices to list the layer's files and to
 * read any byte of them with range requests.
 */
export interface LayerIndex {
  readonly compression: "gzip" | "none";
  /** Length of the layer's blob. */
  readonly compressedSizeBytes: number;
  /** Length of the tar up to and including its end marker (`uncompressed_archive_size`): no file data lies beyond. */
  readonly uncompressedSizeBytes: number;
  readonly spanSizeBytes: number;
  /** In tar order. */
  readonly entries: readonly TarEntry[];
  /** In order; every byte of [0, uncompressedSizeBytes) is in exactly one. Some may be empty: those of the padding after the tar's end. */
  readonly spans: readonly Span[];
  /** For gzip one for each span; empty for uncompressed layers. */
  readonly checkpoints: readonly Checkpoint[];
}

/** What a format needs to encode an index, whose entries and checkpoints may be packed. */
export type EncodableIndex = Omit<LayerIndex, "entries" | "checkpoints"> & {
  readonly entries: EntrySequence;
  readonly checkpoints: CheckpointSequence;
};

/** What one pass over a layer's blob gives. */
export interface BuiltLayer {
  /** Absent for zstd layers, which can't be read at an offset: then only `entries` is known. */
  readonly index: LayerIndex | undefined;
  readonly entries: readonly TarEntry[];
  /** End of the tar, see {@link LayerIndex.uncompressedSizeBytes}. */
  readonly uncompressedSizeBytes: number;
  /** Digest of the blob. */
  readonly layerDigest: Digest;
  /** Digest of the uncompressed blob, padding after the tar's end included. */
  readonly diffId: Digest;
  readonly compressedSizeBytes: number;
}
