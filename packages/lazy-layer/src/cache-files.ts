/** Names of the files in a cache directory; see FORMAT.md. */
export const DATA_FILE = "data";
/** See {@link DATA_FILE}. */
export const PRESENCE_FILE = "presence";

/** tar's and EROFS's block: a cache file's length is a multiple of it. */
export const TAR_BLOCK_BYTES = 512;
