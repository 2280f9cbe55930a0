import type { TarLimits } from "./types.ts";

/** The limits of a scan that is given none. */
export const DEFAULT_TAR_LIMITS: TarLimits = {
  maxEntries: 2_000_000,
  // Four times Linux's PATH_MAX: no longer path can be unpacked anywhere.
  maxNameBytes: 16_384,
  // The same as in Go's archive/tar and in libarchive.
  maxExtendedHeaderBytes: 1_048_576,
  maxMetadataBytes: 268_435_456,
};
