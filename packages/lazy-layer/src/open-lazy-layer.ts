import { setMaxListeners } from "node:events";
import { join } from "node:path";
import {
  AppError,
  checkRange,
  type Digest,
  digestAlgorithm,
  digestHex,
  type IoOptions,
  type Logger,
  type Metrics,
  type ReadOptions,
  roundUp,
  silentLogger,
  silentMetrics,
} from "@soci-ts/core";
import type { HeaderTable, LayerIndex, SpanRange } from "@soci-ts/layer-index";
import { PRESENCE_FILE, TAR_BLOCK_BYTES } from "./cache-files.ts";
import { checkIndex } from "./check-index.ts";
import { ChunkMap } from "./chunk-map.ts";
import type { EvictedChunks, PunchHole } from "./evict-chunks.ts";
import { cacheIdentity } from "./identity.ts";
import { judgeWhole } from "./judge-whole.ts";
import { LayerCache } from "./layer-cache.ts";
import { DEFAULT_LAYER_LIMITS, type LayerLimits } from "./limits.ts";
import type { SpanSource } from "./open-span.ts";
import { Presence } from "./presence.ts";
import type { PresenceHeader } from "./presence-format.ts";
import type { PresentBytes } from "./present-reader.ts";
import { ReadAhead } from "./read-ahead.ts";
import { SpanFetcher } from "./span-fetcher.ts";
import type { Speculator } from "./speculator.ts";
import { SplitHeaders } from "./split-headers.ts";
import type { CachedSpan, CacheSpace, LayerStats, LazyLayer, RangeBlob } from "./types.ts";
import { fetchTail } from "./whole-tail.ts";
import { readWholeVerdict, type WholeVerdict } from "./whole-verdict.ts";

/** Blob bytes of one request that is for nobody: a read that comes meanwhile shares the link with no more. */
const QUIET_REQUEST_BYTES = 4 * 2 ** 20;

/** The folder of a layer that was streamed, inside the layer's own. */
export const WHOLE_FOLDER = "whole";

/** How to open a layer. */
export interface OpenLazyLayerOptions {
  /** Holds one folder for each layer; made if absent. */
  readonly directory: string;
  /** Digest of the layer's blob. */
  readonly layerDigest: Digest;
  /** Checked, but believed: what chains its digests to something trusted is the caller's affair. */
  readonly index: LayerIndex;
  /**
   * The file table that the reader goes by. Given, the tar's headers are held against it as they come in, and what it says wrongly is
   * `data_loss`; not needed for an index that was made from the layer here.
   */
  readonly headers?: HeaderTable | undefined;
  /** Digest of all uncompressed bytes, from the image's config. Given, it is held against them when all are there: {@link LazyLayer.judge}. */
  readonly diffId?: Digest | undefined;
  /** The layer's blob; it is not closed. */
  readonly blob: RangeBlob;
  readonly limits?: Partial<LayerLimits>;
  /** Given, what follows the bytes that were wanted is fetched while nothing is. One for all layers behind a link. */
  readonly speculator?: Speculator | undefined;
  /** Told what the cache takes of the disk. */
  readonly space?: CacheSpace | undefined;
  readonly logger?: Logger;
  readonly metrics?: Metrics;
}

/**
 * Opens a layer by its index. Needs no network. What was cached before, by this process or another, is used; several processes may
 * have the same layer open at once.
 * @throws FormatError if the index does not hang together or is not of this blob; AppError `resource_exhausted` if a span is too large to
 * inflate in memory (stream the layer then), `failed_precondition` if a newer version wrote the cache.
 */
export async function openLazyLayer(options: OpenLazyLayerOptions): Promise<LazyLayer> {
  const { layerDigest, index, headers, diffId, blob, speculator, space } = options;
  const limits = { ...DEFAULT_LAYER_LIMITS, ...options.limits };
  checkIndex(index, blob.size, layerDigest, limits);
  const logger = (options.logger ?? silentLogger).child({ layer: layerDigest });
  const metrics = options.metrics ?? silentMetrics;
  const map = new ChunkMap(index.spans);
  const identity = cacheIdentity(layerDigest, index, headers);
  const header: PresenceHeader = { layerDigest, identity, map };
  const directory = await cacheDirectory(layerDirectory(options.directory, layerDigest), header);
  const cache = await LayerCache.open(directory, header, { logger, metrics, space });
  const judged = diffId && (await readWholeVerdict(directory, diffId));
  const own = { layerDigest, index, headers, blob, cache };
  const parts = { ...own, limits, speculator, logger, metrics };
  const fetcher = new SpanFetcher(parts);
  const splitHeaders = new SplitHeaders(layerDigest, index, headers, map);
  const about = { ...own, diffId, verdict: judged?.verdict ?? "unknown" };
  return new CachedLayer(map, { ...about, fetcher, splitHeaders, limits, logger, metrics });
}

/** The folder of everything that is kept of a layer. */
export function layerDirectory(directory: string, layerDigest: Digest): string {
  return join(directory, `${digestAlgorithm(layerDigest)}-${digestHex(layerDigest)}`);
}

/** A streamed layer's own folder if the index is the one that streaming gave, else one for this index. */
async function cacheDirectory(directory: string, header: PresenceHeader): Promise<string> {
  const whole = join(directory, WHOLE_FOLDER);
  try {
    const presence = await Presence.open(join(whole, PRESENCE_FILE), header);
    await presence?.close();
    if (presence !== undefined) return whole;
  } catch (error) {
    if (error instanceof AppError) throw error;
    // An unreadable folder is as good as none.
  }
  return join(directory, Buffer.from(header.identity).toString("hex", 0, 16));
}

interface Parts extends SpanSource {
  readonly blob: RangeBlob;
  readonly diffId: Digest | undefined;
  /** As it was when the layer was opened. */
  readonly verdict: WholeVerdict;
  readonly cache: LayerCache;
  readonly fetcher: SpanFetcher;
  readonly splitHeaders: SplitHeaders;
  readonly limits: LayerLimits;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

/** Where a read's bytes came from, as the label of its latency. */
type ReadSource = { readonly source: "cache" | "coalesced" | "fetched" };

const FROM_CACHE: ReadSource = { source: "cache" };
/** On their way already for somebody else, or still in memory. */
const COALESCED: ReadSource = { source: "coalesced" };
const FETCHED: ReadSource = { source: "fetched" };

/** What one read has had to do. */
interface ReadTrace {
  source: ReadSource;
}

type TracedRead = ReadOptions & { readonly trace: ReadTrace };

class CachedLayer implements LazyLayer {
  readonly size: number;
  readonly #map: ChunkMap;
  readonly #parts: Parts;
  readonly #readAhead: ReadAhead;
  readonly #reads = new Set<Promise<unknown>>();
  /** 1 as long as others may read what is present; shared with them. */
  readonly #isOpen = new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT));
  #bytesRead = 0;
  #judged: { readonly verdict: WholeVerdict; readonly changes: number };
  /** Spans before it were not absent when they were looked at last. */
  #absentFrom = 0;
  #closing: Promise<void> | undefined;

  constructor(map: ChunkMap, parts: Parts) {
    this.size = roundUp(map.sizeBytes, TAR_BLOCK_BYTES);
    this.#map = map;
    this.#parts = parts;
    this.#judged = { verdict: parts.verdict, changes: parts.cache.changes };
    this.#readAhead = new ReadAhead(parts.limits.maxReadAheadBytes);
    this.#isOpen[0] = Number(parts.verdict !== "wrong");
  }

  async readAt(offset: number, length: number, options: ReadOptions = {}): Promise<Uint8Array> {
    options.signal?.throwIfAborted();
    const startedMs = performance.now();
    checkRange(this.size, offset, length);
    this.#checkUsable();
    const end = Math.min(offset + length, this.#map.sizeBytes);
    const trace: ReadTrace = { source: FROM_CACHE };
    const read = this.#bytes(offset, end, { ...options, trace });
    const bytes = read instanceof Promise ? await this.#tracked(read) : read;
    this.#count(length, (performance.now() - startedMs) / 1000, trace.source);
    if (bytes.length === length) return bytes;
    const padded = new Uint8Array(length);
    padded.set(bytes);
    return padded;
  }

  get present(): PresentBytes | undefined {
    const { cache, splitHeaders } = this.#parts;
    const present = cache.present;
    return present && { ...present, guarded: splitHeaders.guarded, isOpen: this.#isOpen };
  }

  noteRead(offset: number, length: number, seconds: number): void {
    const end = offset + length;
    this.#count(length, seconds, FROM_CACHE);
    if (this.#closing !== undefined) return;
    this.#parts.cache.noteRead(offset, end);
    this.#planReadAhead(offset, end);
  }

  #count(length: number, seconds: number, source: ReadSource): void {
    this.#bytesRead += length;
    const { metrics } = this.#parts;
    metrics.count("soci_layer_read_bytes_total", length);
    metrics.observe("soci_layer_read_duration_seconds", seconds, source);
  }

  async fetchAbsent(within?: SpanRange): Promise<number | undefined> {
    this.#checkUsable();
    const { cache, fetcher } = this.#parts;
    const spans = within === undefined ? this.#absentSpans() : this.#absentWithin(within);
    const [first] = spans;
    if (first === undefined) return undefined;
    const bytes = await fetcher.fetchQuietly(spans);
    const { uncompressedStart, uncompressedEnd } = this.#map.span(first);
    if (cache.has(uncompressedStart, uncompressedEnd)) return bytes;
    const state = `its cache does not take span ${first}`;
    throw new AppError("resource_exhausted", `Cannot complete the layer: ${state}`);
  }

  get verdict(): WholeVerdict | undefined {
    if (this.#parts.diffId === undefined) return undefined;
    const { verdict, changes } = this.#judged;
    const isStale = verdict === "right" && changes !== this.#parts.cache.changes;
    return isStale ? "unknown" : verdict;
  }

  async judge(options: IoOptions = {}): Promise<WholeVerdict> {
    const { diffId, cache, splitHeaders, logger, metrics } = this.#parts;
    if (diffId === undefined) return "unknown";
    if (this.#judged.verdict === "wrong") return "wrong";
    const { changes } = cache;
    if (!cache.isComplete) return "unknown";
    // Who reads the file by itself later does not look at the headers that spans' borders cut.
    const trace: ReadTrace = { source: FROM_CACHE };
    await splitHeaders.verify(0, Number.POSITIVE_INFINITY, (from, to) =>
      this.#read(from, to, { trace }),
    );
    const tail = (): Promise<Uint8Array | undefined> => fetchTail(this.#parts, options);
    const verdict = await judgeWhole({ ...options, cache, diffId, tail, logger, metrics });
    this.#judged = { verdict, changes };
    if (verdict === "wrong") Atomics.store(this.#isOpen, 0, 0);
    return verdict;
  }

  stats(): LayerStats {
    const { cache, fetcher } = this.#parts;
    return {
      requests: fetcher.requestCount,
      bytesFetched: fetcher.bytesFetched,
      bytesRead: this.#bytesRead,
      cachedBytes: cache.cachedBytes,
      complete: cache.isComplete,
      readAheadSpans: fetcher.readAheadSpans,
      corruptChunks: cache.corruptChunks,
      cacheErrors: cache.errors,
    };
  }

  cachedSpans(): readonly CachedSpan[] {
    return this.#parts.cache.cachedSpans();
  }

  evictSpan(span: number, punchHole: PunchHole): Promise<EvictedChunks> {
    return this.#parts.cache.evictSpan(span, punchHole);
  }

  reclaimStrays(punchHole: PunchHole): Promise<number> {
    return this.#parts.cache.reclaimStrays(punchHole);
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #close(): Promise<void> {
    Atomics.store(this.#isOpen, 0, 0);
    await this.#parts.fetcher.close();
    // Reads in the cache file end by themselves; its descriptor must outlive them.
    await Promise.allSettled(this.#reads);
    await this.#parts.cache.close();
  }

  #checkUsable(): void {
    if (this.#closing !== undefined) {
      throw new AppError("cancelled", "Cannot read the layer: it is closed");
    }
    if (this.#judged.verdict !== "wrong") return;
    const { layerDigest: layer, diffId } = this.#parts;
    const state = `its bytes are not what the image's config says, want diffID ${diffId}`;
    const details = { layer };
    throw new AppError("data_loss", `Cannot read layer ${layer}: ${state}`, { details });
  }

  /** The first run of absent spans that makes up a request. */
  #absentSpans(): readonly number[] {
    const end = this.#map.spans.length;
    const first = this.#firstAbsent(this.#absentFrom, end) ?? this.#firstAbsent(0, end);
    this.#absentFrom = first ?? 0;
    return first === undefined ? [] : this.#absentRun(first, end);
  }

  #absentWithin({ startSpan, endSpan }: SpanRange): readonly number[] {
    const end = Math.min(endSpan + 1, this.#map.spans.length);
    const first = this.#firstAbsent(Math.max(0, startSpan), end);
    return first === undefined ? [] : this.#absentRun(first, end);
  }

  #absentRun(first: number, end: number): readonly number[] {
    const run = [first];
    const { compressedStart } = this.#map.span(first);
    for (let at = first + 1; at < end && this.#isAbsent(at); at += 1) {
      if (this.#map.span(at).compressedEnd - compressedStart > QUIET_REQUEST_BYTES) break;
      run.push(at);
    }
    return run;
  }

  #firstAbsent(from: number, end: number): number | undefined {
    for (let at = from; at < end; at += 1) if (this.#isAbsent(at)) return at;
    return undefined;
  }

  /** What lies behind the tar's end is never absent. */
  #isAbsent(at: number): boolean {
    const { uncompressedStart, uncompressedEnd } = this.#map.span(at);
    if (uncompressedStart === uncompressedEnd) return false;
    return !this.#parts.cache.has(uncompressedStart, uncompressedEnd);
  }

  async #tracked<T>(read: Promise<T>): Promise<T> {
    this.#reads.add(read);
    try {
      return await read;
    } finally {
      this.#reads.delete(read);
    }
  }

  #bytes(start: number, end: number, options: TracedRead): Promise<Uint8Array> | Uint8Array {
    if (start >= end) return new Uint8Array(0);
    if (this.#parts.splitHeaders.isDone) return this.#read(start, end, options);
    return this.#readVerified(start, end, options);
  }

  /** Reads, and before it the headers that nobody has looked at of files that are read. */
  async #readVerified(start: number, end: number, options: TracedRead): Promise<Uint8Array> {
    const { splitHeaders } = this.#parts;
    const { signal, trace } = options;
    await splitHeaders.verify(start, end, (from, to) => this.#read(from, to, { signal, trace }));
    return await this.#read(start, end, options);
  }

  async #read(
    start: number,
    end: number,
    { signal, into, trace }: TracedRead,
  ): Promise<Uint8Array> {
    const { cache } = this.#parts;
    this.#planReadAhead(start, end);
    const cached = await cache.read(start, end, into);
    if (cached !== undefined) return cached;
    await cache.refresh(start, end);
    using deadline = readDeadline(this.#parts.limits.readTimeoutMs, signal);
    const length = end - start;
    const hasRoom = into !== undefined && into.length >= length;
    const bytes = hasRoom ? into.subarray(0, length) : new Uint8Array(length);
    const pieces = [...this.#map.pieces(start, end)];
    await Promise.all(
      pieces.map(async (piece) => {
        const read = { signal: deadline.signal, trace };
        bytes.set(await this.#piece(piece, read), piece.start - start);
      }),
    );
    return bytes;
  }

  /** The part of a read that lies in one span. */
  async #piece(
    { span, start, end }: { readonly span: number; readonly start: number; readonly end: number },
    { signal, trace }: { readonly signal: AbortSignal; readonly trace: ReadTrace },
  ): Promise<Uint8Array> {
    const { cache, fetcher } = this.#parts;
    if (cache.has(start, end)) {
      const cached = await cache.read(start, end);
      if (cached !== undefined) return cached;
    }
    if (!fetcher.isAwaited(span)) trace.source = FETCHED;
    else if (trace.source === FROM_CACHE) trace.source = COALESCED;
    const bytes = await fetcher.get(span, signal);
    const { uncompressedStart } = this.#map.span(span);
    return bytes.subarray(start - uncompressedStart, end - uncompressedStart);
  }

  #planReadAhead(start: number, end: number): void {
    const { cache, fetcher } = this.#parts;
    if (cache.isComplete) return;
    const range = this.#readAhead.note(start, end);
    if (range === undefined) return;
    const spans = new Set<number>();
    for (const { span } of this.#map.pieces(
      range.start,
      Math.min(range.end, this.#map.sizeBytes),
    )) {
      const { uncompressedStart, uncompressedEnd } = this.#map.span(span);
      if (!cache.has(uncompressedStart, uncompressedEnd)) spans.add(span);
    }
    fetcher.readAhead(spans);
  }
}

/** Aborts when `signal` does, or after `timeoutMs` with an error that says so. */
function readDeadline(
  timeoutMs: number,
  signal: AbortSignal | undefined,
): Disposable & { readonly signal: AbortSignal } {
  const abort = new AbortController();
  // Every span of the read listens.
  setMaxListeners(0, abort.signal);
  const onAbort = (): void => abort.abort(signal?.reason);
  if (signal?.aborted) onAbort();
  signal?.addEventListener("abort", onAbort, { once: true });
  const timer = setTimeout(() => {
    abort.abort(
      new AppError("deadline_exceeded", `Cannot read the layer: no answer within ${timeoutMs} ms`),
    );
  }, timeoutMs);
  return {
    signal: abort.signal,
    [Symbol.dispose]: () => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", onAbort);
    },
  };
}
