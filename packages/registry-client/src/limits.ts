/** Most bytes of a token server's answer. */
export const TOKEN_RESPONSE_LIMIT_BYTES = 262_144;
/** Longest token that is sent in a header; Node's servers take 16 KiB of headers, others up to 64. */
export const MAX_TOKEN_LENGTH = 65_536;
/** Most bytes of an error's body that are read. */
export const ERROR_BODY_LIMIT_BYTES = 65_536;
/** Most errors of such a body, and characters of each text, that are kept. */
export const MAX_SPEC_ERRORS = 8;
/** Longest text of a registry's error that is kept. */
export const MAX_ERROR_TEXT_LENGTH = 256;
/** Longest WWW-Authenticate, Link or similar header that is parsed. */
export const MAX_PARSED_HEADER_LENGTH = 8_192;
/** Most redirects of one request. */
export const MAX_REDIRECTS = 5;
/** Most pages of a list (tags, referrers). */
export const MAX_PAGES = 1_000;
/** Most tags or referrers of a list. */
export const MAX_LIST_LENGTH = 100_000;
/** Most bytes of a page of tags. */
export const LIST_PAGE_LIMIT_BYTES: number = 4 * 1024 * 1024;
/** Most bytes of a credentials file. */
export const CREDENTIALS_FILE_LIMIT_BYTES: number = 1024 * 1024;
/** Most bytes that a credential helper may print. */
export const HELPER_OUTPUT_LIMIT_BYTES = 131_072;
/** Bytes of one PATCH of a chunked upload; a registry may ask for more by OCI-Chunk-Min-Length. */
export const UPLOAD_CHUNK_BYTES: number = 8 * 1024 * 1024;
/** The most that OCI-Chunk-Min-Length may ask for. */
export const MAX_UPLOAD_CHUNK_BYTES: number = 64 * 1024 * 1024;
/** After this many bytes a retried download counts as making progress, and its attempts start anew. */
export const PROGRESS_BYTES = 65_536;
/** Most bytes of a hosts.toml. */
export const HOSTS_FILE_LIMIT_BYTES: number = 1024 * 1024;
/** Most logins of one request: a source may give another credential each time. */
export const MAX_LOGINS = 8;
