/** Largest ztoc, in bytes: the windows of 40 GiB at a 4 MiB span, and a file table. */
export const MAX_ZTOC_BYTES: number = 512 * 1024 * 1024;
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
