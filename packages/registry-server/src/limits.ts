/** Longest repository name in characters; longer ones do not fit clients' limit for host and name together (distribution-spec v1.1.1 §Pulling manifests). */
export const MAX_REPOSITORY_LENGTH = 255;
/** Most tags in one answer; a client follows `Link` for the rest. */
export const MAX_TAGS_PER_PAGE = 10_000;
/** Most descriptors in one answer of the referrers API: nothing else is answered while a page is made, here about a millisecond. */
export const MAX_REFERRERS_PER_PAGE = 250;
/** A page of referrers ends before this size (3 MiB), because clients read no index above 4 MiB. */
export const REFERRERS_PAGE_BYTES: number = 3 * 1024 * 1024;
/** Most `tag` parameters of one manifest push. */
export const MAX_TAGS_PER_PUSH = 100;
/** Most uploads open at a time, each a file and an entry in memory: some ten layers of some hundred pushes. */
export const MAX_OPEN_UPLOADS = 4_096;
/** Where {@link MAX_OPEN_UPLOADS} are open, those that nobody touched for this long (15 min) are given up at once. */
export const CROWDED_IDLE_LIMIT_MS: number = 15 * 60 * 1000;
/** What a client is told to wait when there are too many uploads, and how often at most idle ones are looked for then. */
export const CROWDED_RETRY_S = 60;
/** Chunks should have this size at least (64 KiB): smaller ones are taken, but cost a request and an opened file each. */
export const CHUNK_MIN_BYTES: number = 64 * 1024;
/** Most bytes of warnings in one answer (distribution-spec v1.1.1 §Warnings). */
export const WARNING_LIMIT_BYTES = 4_096;
/** An upload that nobody touched for this long (24 h) is given up. */
export const UPLOAD_IDLE_LIMIT_MS: number = 24 * 60 * 60 * 1000;
/** Open uploads whose running digest is kept in memory; others are read again when they are closed. */
export const MAX_RUNNING_DIGESTS = 1_024;
/** How often the grace time of a blob that clients ask for is renewed (5 minutes); a grace time is longer than this. */
export const RENEWAL_INTERVAL_MS: number = 5 * 60 * 1000;
/** Blobs that the garbage collection looks at in one step. */
export const GC_BLOBS_PER_STEP = 200;
/** Manifests that the garbage collection looks at in one step; removing one takes longer than removing a blob's row. */
export const GC_MANIFESTS_PER_STEP = 50;
