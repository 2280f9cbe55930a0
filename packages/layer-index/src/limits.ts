import { DEFAULT_TAR_LIMITS, type TarLimits } from "@soci-ts/tar";

/** Bounds on what a layer or its index may ask of us. The tar's limits bound the file table of an index too. */
export interface LayerIndexLimits extends TarLimits {
  /** Most spans. A gzip span costs 32 KiB of memory. */
  readonly maxSpans: number;
}

/** Furthest that a zstd frame may look back, in bytes: reading it takes twice as much memory. */
export const MAX_ZSTD_WINDOW_BYTES: number = 2 ** 25;

/** The limits of a build or a decoder that is given none. */
export const DEFAULT_LAYER_INDEX_LIMITS: LayerIndexLimits = {
  ...DEFAULT_TAR_LIMITS,
  // 64 GiB of output at spans of 4 MiB, and 512 MiB of windows.
  maxSpans: 16_384,
};
