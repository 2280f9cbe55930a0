/** Names of the files in a cache directory; see FORMAT.md. */
export const DATA_FILE = "data";
/** See {@link DATA_FILE}. */
export const PRESENCE_FILE = "presence";
