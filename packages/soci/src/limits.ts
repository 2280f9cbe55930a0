/** Largest ztoc, in bytes: the windows of 40 GiB at a 4 MiB span, and a file table. A node holds one in memory while it makes its mount. */
export const MAX_ZTOC_BYTES: number = 512 * 1024 * 1024;

/** Why a ztoc of this size is neither made nor used, and what helps. */
export function tooLargeReason(sizeBytes: number): string {
  return `its ztoc has ${sizeBytes} bytes, want at most ${MAX_ZTOC_BYTES}: index the layer with a larger span size (soci create --span-size), or split it`;
}

/** Image indexes inside image indexes. */
export const MAX_INDEX_DEPTH = 3;
/** Index artifacts of one image that are fetched to choose among. */
export const MAX_INDEX_CANDIDATES = 16;
/** Of those, so many at a time. */
export const INDEXES_AT_ONCE = 4;
/** Ztocs of one image that are fetched at a time. */
export const ZTOCS_AT_ONCE = 4;
