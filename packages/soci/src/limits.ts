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
/** Blobs of one image that are copied at a time: each is a stream, and the slower end decides. */
export const BLOBS_AT_ONCE = 3;
