/** Largest ztoc, in bytes: the windows of 40 GiB at a 4 MiB span, and a file table. A node holds one in memory while it makes its mount. */
export const MAX_ZTOC_BYTES: number = 512 * 1024 * 1024;

/** Why a ztoc of this size is neither made nor used, and what helps. */
export function tooLargeReason(sizeBytes: number): string {
  return `its ztoc has ${sizeBytes} bytes, want at most ${MAX_ZTOC_BYTES}: index the layer with a larger span size (soci create --span-size), or split it`;
}

/** Image indexes inside image indexes. */
export const MAX_INDEX_DEPTH = 3;
/** Entries of a layout's `index.json` that are looked at for indexes. */
export const MAX_LAYOUT_ENTRIES = 256;
/** Index artifacts of one image that are fetched to choose among. */
export const MAX_INDEX_CANDIDATES = 16;
/** Of those, so many at a time. */
export const INDEXES_AT_ONCE = 4;
/** Ztocs of one image that are fetched at a time. */
export const ZTOCS_AT_ONCE = 4;
/** Blobs of one image that are copied at a time: each is a stream, and the slower end decides. */
export const BLOBS_AT_ONCE = 3;
/** Largest prefetch list, in bytes: some 20,000 ranges. */
export const MAX_PREFETCH_LIST_BYTES: number = 1024 * 1024;
/** Most ranges of a prefetch list. */
export const MAX_PREFETCH_RANGES = 16_384;
/** Highest span number: the format has it as an int32. */
export const MAX_SPAN_NUMBER = 2_147_483_647;
/** What an image archive may hold: files of an image, not those of its layers. Two entries or three for each layer are usual. */
export const ARCHIVE_TAR_LIMITS = {
  maxEntries: 100_000,
  maxNameBytes: 4096,
  maxExtendedHeaderBytes: 65_536,
  maxMetadataBytes: 33_554_432,
} as const;
/** Largest file in an image archive: 1 TiB. */
export const MAX_ARCHIVE_ENTRY_BYTES: number = 2 ** 40;
/** Links that are followed from one name in an image archive. */
export const MAX_ARCHIVE_LINKS = 8;
