import type { ByteSource, IoOptions, ReadOptions } from "@soci-ts/core";
import type { SpanRange } from "@soci-ts/layer-index";
import type { EvictedChunks, PunchHole } from "./evict-chunks.ts";
import type { PresentBytes } from "./present-reader.ts";
import type { WholeVerdict } from "./whole-verdict.ts";

/** A layer's blob in a registry (or elsewhere): read at an offset, and streamed by range. */
export interface RangeBlob extends ByteSource {
  /**
   * The bytes of [start, end) in order, as they arrive; the taker may keep the pieces. It fails rather than end early, and stops when
   * the signal aborts or the loop over it is left.
   */
  stream(start: number, end: number, options?: IoOptions): AsyncIterable<Uint8Array>;
  /** Says that bytes read before were not the blob's: the next are had from elsewhere, if there is an elsewhere. */
  distrust?(): void;
}

/** Whoever looks after the disk space that the caches of all layers take. */
export interface CacheSpace {
  /** Bytes have come into a cache. */
  wrote(sizeBytes: number): void;
  /** A write has failed because the disk is full. */
  full(): void;
}

/** A span of which something is in the cache file. */
export interface CachedSpan {
  readonly span: number;
  /** When it was last read or written, in ms since the epoch; 0: not since the layer was opened. */
  readonly usedAtMs: number;
}

/** What a layer has done since it was opened. */
export interface LayerStats {
  /** Range requests made of the blob. */
  readonly requests: number;
  /** Bytes of the blob that arrived. */
  readonly bytesFetched: number;
  /** Bytes that reads gave to callers. */
  readonly bytesRead: number;
  /** Uncompressed bytes of the layer that are in the cache file. */
  readonly cachedBytes: number;
  /** True if that is all of them: reads need no network then. */
  readonly complete: boolean;
  /** Spans fetched because a reader went through the layer in order, before it asked. */
  readonly readAheadSpans: number;
  /** Chunks of the cache file that were not what their checksum says, and were fetched again. */
  readonly corruptChunks: number;
  /** Cache operations that failed (disk full, I/O error); the reads they were for did not. */
  readonly cacheErrors: number;
}

/**
 * A layer's uncompressed tar, whose bytes arrive when they are read. Its `size` is the tar's length rounded up to 512; the bytes
 * that this adds are zero. Reads run concurrently and share what they fetch.
 *
 * Life of a span: *absent* → (a read wants it) *pending* → (a range request that covers it starts) *fetching* → (its bytes are there,
 * have the digest and are inflated) *in memory*: waiting reads are served → (written to the cache file, its chunks marked) *present*.
 * A failure leads back to absent. A present chunk that fails its checksum makes its span absent again.
 */
export interface LazyLayer extends ByteSource, AsyncDisposable {
  /**
   * Exactly `length` bytes from `offset`; the caller owns them, and they lie in `options.into` if that has room for them and some more.
   * @throws AppError `out_of_range`; `data_loss` if the blob does not have the bytes that the index's digests name, with layer, span and
   * offset, or the bytes of the whole layer are not what the image's config says; `deadline_exceeded` if they did not arrive in time; what the blob threw; the signal's reason.
   */
  readAt(offset: number, length: number, options?: ReadOptions): Promise<Uint8Array>;
  /** What a thread that has nothing else to do reads present bytes by, as a {@link PresentReader}; `undefined` if there is no cache. */
  readonly present: PresentBytes | undefined;
  /** Says that another thread has answered such a read, and how long it took. */
  noteRead(offset: number, length: number, seconds: number): void;
  /**
   * Fetches the next few spans that are absent, for nobody: in one request, one span inflating at a time.
   * @param within - looks at no others; those that the layer does not have are passed over.
   * @returns compressed bytes that it brought; `undefined` if no span was absent.
   * @throws AppError `resource_exhausted` if the cache does not take them; what a read would throw. No read fails because of it.
   */
  fetchAbsent(within?: SpanRange): Promise<number | undefined>;
  /**
   * Compares all bytes with the diffID that the layer was opened with, unless that was done before or some are absent (then it stays
   * `unknown`). Costs a pass over the cache file, at the lowest priority; where more than zeros follows the tar, a request and another pass. If they are `wrong`, reads fail with `data_loss` from then on.
   * @throws what reading the cache file throws; the signal's reason.
   */
  judge(options?: IoOptions): Promise<WholeVerdict>;
  /** What is known of that; `undefined` if there is no diffID to compare with. */
  readonly verdict: WholeVerdict | undefined;
  /** Counts since opening. */
  stats(): LayerStats;
  /** Spans of which something is in the cache file, in order. */
  cachedSpans(): readonly CachedSpan[];
  /**
   * Takes a span out of the cache file; the next read fetches it again. Nothing happens to one that is being written, or if the file has a second name
   * (the kernel reads it then without this process). Never rejects.
   */
  evictSpan(span: number, punchHole: PunchHole): Promise<EvictedChunks>;
  /**
   * Gives back what writes that failed, and evictions that were killed, have left in the cache file; looks only where that may be. Never rejects.
   * @returns bytes of disk that this freed.
   */
  reclaimStrays(punchHole: PunchHole): Promise<number>;
  /** Stops what is being fetched and closes the cache. Reads in progress fail with `cancelled`. Idempotent. */
  close(): Promise<void>;
}
