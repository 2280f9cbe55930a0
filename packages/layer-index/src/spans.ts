import type { Digest } from "@soci-ts/core";
import type { Checkpoint } from "@soci-ts/gzip";
import type { Span } from "./types.ts";

/** The span size that the reference builder uses unless told otherwise (`soci-format.md` §1.1). */
export const DEFAULT_SPAN_SIZE_BYTES = 4_194_304;

/** Where a checkpoint lies. */
export type CheckpointPlace = Omit<Checkpoint, "window">;

/** How long a layer is on both sides. */
export interface LayerSizes {
  readonly compressedSizeBytes: number;
  /** Up to the tar's end marker. */
  readonly uncompressedSizeBytes: number;
}

/** The blob offset where the piece that a checkpoint opens starts: the byte that it lies in belongs to both sides. */
export function compressedStartOf(checkpoint: CheckpointPlace): number {
  return checkpoint.compressedOffset - (checkpoint.bits === 0 ? 0 : 1);
}

/**
 * The spans that checkpoints cut a gzip layer into, one for each (`soci-format.md` §2.6). Checkpoints in the padding after the
 * tar's end open spans that hold nothing.
 * @param digests - as many as checkpoints.
 */
export function gzipSpans(
  checkpoints: readonly CheckpointPlace[],
  sizes: LayerSizes,
  digests: readonly Digest[],
): Span[] {
  const tarEnd = sizes.uncompressedSizeBytes;
  return checkpoints.map((checkpoint, at) => {
    const next = checkpoints[at + 1];
    return {
      compressedStart: compressedStartOf(checkpoint),
      compressedEnd: next?.compressedOffset ?? sizes.compressedSizeBytes,
      uncompressedStart: Math.min(checkpoint.uncompressedOffset, tarEnd),
      uncompressedEnd: Math.min(next?.uncompressedOffset ?? tarEnd, tarEnd),
      digest: digests[at] as Digest,
    };
  });
}

/** How many spans the grid of an uncompressed layer has. */
export function gridSpanCount(spanSizeBytes: number, sizeBytes: number): number {
  return Math.ceil(sizeBytes / spanSizeBytes);
}

/**
 * The spans of an uncompressed layer: a grid of equal pieces, the last one shorter (`soci-format.md` §2.8).
 * @param digests - as many as {@link gridSpanCount} says.
 */
export function gridSpans(
  spanSizeBytes: number,
  sizes: LayerSizes,
  digests: readonly Digest[],
): Span[] {
  return digests.map((digest, at) => {
    const start = at * spanSizeBytes;
    const end = Math.min(start + spanSizeBytes, sizes.compressedSizeBytes);
    return {
      compressedStart: start,
      compressedEnd: end,
      uncompressedStart: Math.min(start, sizes.uncompressedSizeBytes),
      uncompressedEnd: Math.min(end, sizes.uncompressedSizeBytes),
      digest,
    };
  });
}
