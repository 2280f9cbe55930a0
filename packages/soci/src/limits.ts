/** Largest ztoc, in bytes: the windows of 40 GiB at a 4 MiB span, and a file table. */
export const MAX_ZTOC_BYTES: number = 512 * 1024 * 1024;
/** Image indexes inside image indexes. */
export const MAX_INDEX_DEPTH = 3;
/** Index artifacts of one image that are fetched to choose among. */
export const MAX_INDEX_CANDIDATES = 16;
/** Of those, so many at a time. */
export const INDEXES_AT_ONCE = 4;
/** Ztocs of one image that are fetched at a time. */
export const ZTOCS_AT_ONCE = 4;
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
