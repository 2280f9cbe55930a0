/** Most checkpoints of a scan that is given no limit: 512 MiB of windows; 64 GiB of output at spans of 4 MiB. */
export const DEFAULT_MAX_CHECKPOINTS = 16384;
/** Most bytes that a byte of deflate gives: a bit gives at most 129 (258 for two one-bit codes; RFC 1951 §3.2.5). 8 × 129 = 1032. */
export const MAX_EXPANSION = 1032;
/** Largest buffer that is taken for output at once, whatever a caller (who may have it from an index) says is wanted: 64 MiB. */
export const MAX_CHUNK_BYTES = 67108864;
