/** How long an upstream delays an answer that could be given without it, by default. */
export const DEFAULT_PATIENCE_MS = 3_000;
/** For a connection to an upstream, with its TLS handshake. */
export const CONNECT_TIMEOUT_MS = 5_000;
/** An upstream that could not be reached is not asked for this long where there is an answer without it. */
export const REST_MS = 10_000;
/** How long a client that the upstream let read a repository may read what is cached of it without being asked again. */
export const PASS_MS: number = 5 * 60 * 1000;
/** How long that counts when the upstream cannot be asked. */
export const HELD_PASS_MS: number = 24 * 60 * 60 * 1000;
/** Most clients and repositories of which that is remembered. */
export const MAX_PASSES = 10_000;
/** Most uploads under way at upstreams. */
export const MAX_SESSIONS = 10_000;
/** Most bytes of a refusal that are read to be given to several clients. */
export const REFUSAL_LIMIT_BYTES = 65_536;
/** Most transfers into the cache at a time; beyond, clients are served past the cache. */
export const MAX_TRANSFERS = 64;
/** Most entries of the cache, because each takes memory. */
export const MAX_CACHE_ENTRIES = 500_000;
/** Times that a transfer is taken up again where it broke off; one that gets on starts to count anew. */
export const MAX_RESUMPTIONS = 5;
/** A range that begins further ahead of the bytes that are here is fetched by itself. */
export const JUMP_BYTES: number = 1024 * 1024;
/** Most such ranges of one transfer at a time. */
export const MAX_JUMPS = 8;
/** A range that begins a transfer and is no longer than this (16 MiB) is fetched before the whole. */
export const MAX_FIRST_RANGE_BYTES: number = 16 * 1024 * 1024;
/** The whole waits until no range was fetched for this long. */
export const QUIET_MS = 2_000;
/** It waits no longer than this to begin: once it is under way, the network holds megabytes of it that cannot wait any more. */
export const LONGEST_START_WAIT_MS = 30_000;
/** It waits no longer than this for each piece. */
export const LONGEST_PIECE_WAIT_MS = 250;
/** No more of the disk is used for the cache for this long after it was full. */
export const DISK_FULL_PAUSE_MS = 30_000;
/** Most referrers of one manifest that are taken from an upstream. */
export const MAX_UPSTREAM_REFERRERS = 10_000;
/** Most bytes of such a list (16 MiB). */
export const MAX_UPSTREAM_REFERRERS_BYTES: number = 16 * 1024 * 1024;
/** Most pages of such a list. */
export const MAX_REFERRERS_PAGES = 100;
/** Most lists of referrers that are remembered. */
export const MAX_REMEMBERED_LISTS = 10_000;
/** Longest of them in characters. */
export const MAX_REMEMBERED_LENGTH = 65_536;
/** Most bytes of blobs that are copied from an upstream with one artifact (1 GiB). */
export const MAX_KEPT_ARTIFACT_BYTES: number = 1024 * 1024 * 1024;
