import {
  AppError,
  abortable,
  type Deferred,
  type Digest,
  deferred,
  type ErrorCode,
  type Logger,
  type Metrics,
} from "@soci-ts/core";
import type { HeaderTable, LayerIndex, Span } from "@soci-ts/layer-index";
import { ByteBudget } from "./byte-budget.ts";
import type { LayerCache } from "./layer-cache.ts";
import type { LayerLimits } from "./limits.ts";
import { inflateSpan, verifySpan } from "./open-span.ts";
import { openQuietly } from "./quiet-opener.ts";
import { RangeReader } from "./range-reader.ts";
import { SpanBuffers } from "./span-buffers.ts";
import type { Speculator } from "./speculator.ts";
import type { RangeBlob } from "./types.ts";
import { UncachedSpans } from "./uncached-spans.ts";

/**
 * How long a span that could not be had is not asked for again. For one read(2) that fails the kernel asks up to three times in a row;
 * without this, each of them would go through all attempts that the registry client makes.
 */
const FAILURE_MEMORY_MS = 3000;

/** How far behind a span that was wanted the next guess may lie. */
const GUESS_REACH = 3;

/** Requests left to demand while read-ahead runs. */
const DEMAND_REQUESTS = 2;

/** What trying again can't help. */
const PERMANENT: readonly ErrorCode[] = [
  "cancelled",
  "invalid_argument",
  "not_found",
  "out_of_range",
  "permission_denied",
  "unauthenticated",
  "unimplemented",
];

/** One span on its way, and who waits for it. */
interface Flight {
  readonly at: number;
  readonly span: Span;
  readonly bytes: Deferred<Uint8Array>;
  /** Resolves when it is over, successful or not, with its bytes in the cache if that took them. */
  readonly over: Deferred<undefined>;
  /** Resolves when a read waits for it. */
  readonly demanded: Deferred<undefined>;
  /** False while only read-ahead wants it. */
  isDemand: boolean;
  isSettled: boolean;
  waiters: number;
  request: SpanRequest | undefined;
}

/** One range request for neighbouring spans. */
interface SpanRequest {
  readonly flights: readonly Flight[];
  readonly abort: AbortController;
  /** It is for nobody: its spans are opened one at a time, and it goes on when a read that has joined it leaves. */
  readonly isQuiet: boolean;
  /** The first flight whose bytes have not all arrived. */
  next: number;
}

/** What is not tried again for a while. */
interface Failure {
  readonly error: unknown;
  readonly untilMs: number;
}

/** What a {@link SpanFetcher} works on. */
export interface SpanFetcherOptions {
  readonly layerDigest: Digest;
  readonly index: LayerIndex;
  readonly headers: HeaderTable | undefined;
  readonly blob: RangeBlob;
  readonly cache: LayerCache;
  readonly limits: LayerLimits;
  /** Shared by the layers behind one link; none: nothing is guessed. */
  readonly speculator: Speculator | undefined;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

/**
 * Brings absent spans: whoever wants one that is on its way joins it; spans wanted at about the same time that are neighbours share a
 * range request; each is verified, inflated, given to those who wait and then written to the cache, while the ones behind
 * it still arrive. A request ends when nobody waits for it any more.
 */
export class SpanFetcher {
  readonly #options: SpanFetcherOptions;
  readonly #budget: ByteBudget;
  readonly #uncached: UncachedSpans;
  readonly #buffers = new SpanBuffers();
  readonly #flights = new Map<number, Flight>();
  /** Flights without a request yet, in order of arrival. */
  readonly #pending = new Map<number, Flight>();
  readonly #requests = new Map<SpanRequest, Promise<void>>();
  readonly #failures = new Map<number, Failure>();
  /** Nothing came for as long as a reader could wait: others are not to find that out one after the other. */
  #stall: Failure | undefined;
  #isPumpDue = false;
  #isClosed = false;
  #requestCount = 0;
  #bytesFetched = 0;
  #readAheadSpans = 0;

  constructor(options: SpanFetcherOptions) {
    this.#options = options;
    this.#budget = new ByteBudget(options.limits.maxInFlightBytes);
    this.#uncached = new UncachedSpans(options.limits.maxUncachedBytes);
  }

  get requestCount(): number {
    return this.#requestCount;
  }

  get bytesFetched(): number {
    return this.#bytesFetched;
  }

  get readAheadSpans(): number {
    return this.#readAheadSpans;
  }

  /** True if a span is on its way, or in memory. */
  isAwaited(at: number): boolean {
    return this.#flights.has(at) || this.#uncached.get(at) !== undefined;
  }

  /** The tar bytes of a span; not to be altered. Rejects with the signal's reason on abort. */
  async get(at: number, signal: AbortSignal): Promise<Uint8Array> {
    signal.throwIfAborted();
    if (this.#isClosed) throw closedError();
    const uncached = this.#uncached.get(at);
    if (uncached !== undefined) return uncached;
    this.#throwRecentFailure(at);
    const flight = this.#flights.get(at) ?? this.#add(at);
    if (!flight.isDemand) this.#demand(flight);
    flight.waiters += 1;
    try {
      return await abortable(flight.bytes.promise, signal);
    } finally {
      flight.waiters -= 1;
      if (signal.aborted) this.#left(flight, signal.reason);
    }
  }

  /** Starts fetching spans that nobody waits for yet. */
  readAhead(spans: Iterable<number>): void {
    for (const at of spans) {
      if (this.#isClosed || this.#flights.has(at) || this.#uncached.get(at) !== undefined) continue;
      this.#add(at);
      this.#readAheadSpans += 1;
      this.#options.metrics.count("soci_layer_read_ahead_spans_total");
    }
  }

  /**
   * Brings spans, which must follow each other, for nobody: in one request, up to the first that is on its way already.
   * @returns compressed bytes; 0 if the first was on its way, and is over now. @throws what fetching one of them threw.
   */
  async fetchQuietly(spans: readonly number[]): Promise<number> {
    if (this.#isClosed) throw closedError();
    const flights: Flight[] = [];
    for (const at of spans) {
      const known = this.#flights.get(at);
      if (known !== undefined && flights.length === 0) await known.over.promise;
      if (known !== undefined) break;
      flights.push(this.#create(at));
    }
    if (flights.length === 0) return 0;
    await this.#start(flights, { isQuiet: true });
    await Promise.all(flights.map(({ bytes }) => bytes.promise));
    return flights.reduce((sum, { span }) => sum + span.compressedEnd - span.compressedStart, 0);
  }

  /** Stops everything; those who wait get `cancelled`. */
  async close(): Promise<void> {
    this.#isClosed = true;
    for (const flight of this.#pending.values())
      this.#settle(flight, () => flight.bytes.reject(closedError()));
    this.#pending.clear();
    for (const request of this.#requests.keys()) request.abort.abort(closedError());
    await Promise.all(this.#requests.values());
  }

  /** What was only read ahead, or guessed, is waited for now. */
  #demand(flight: Flight): void {
    flight.isDemand = true;
    flight.demanded.resolve(undefined);
    this.#schedulePump();
    const { speculator } = this.#options;
    if (speculator === undefined) return;
    speculator.demandBegins();
    const ends = (): void => speculator.demandEnds(() => this.#guess(flight.at + 1));
    flight.bytes.promise.then(ends, ends);
  }

  /** Begins to fetch the first absent span from `from` on, if it is near. */
  #guess(from: number): Promise<void> | undefined {
    const { index, cache } = this.#options;
    for (let at = from; at < from + GUESS_REACH && at < index.spans.length; at += 1) {
      const { uncompressedStart, uncompressedEnd } = index.spans[at] as Span;
      const isThere = cache.has(uncompressedStart, uncompressedEnd) || this.#flights.has(at);
      if (isThere || uncompressedStart === uncompressedEnd) continue;
      if (this.#isClosed || this.#uncached.get(at) !== undefined) return undefined;
      this.#options.metrics.count("soci_layer_guessed_spans_total");
      return this.#add(at).bytes.promise.then(
        () => {},
        () => {}, // nobody waits for it
      );
    }
    return undefined;
  }

  /** A span that the next request may take along. */
  #add(at: number): Flight {
    const flight = this.#create(at);
    this.#pending.set(at, flight);
    this.#schedulePump();
    return flight;
  }

  #create(at: number): Flight {
    const span = this.#options.index.spans[at];
    if (span === undefined) throw new RangeError(`no span ${at}`);
    const bytes = deferred<Uint8Array>();
    // A read-ahead that fails has nobody to tell.
    bytes.promise.then(undefined, () => {});
    const flight: Flight = {
      at,
      span,
      bytes,
      over: deferred(),
      demanded: deferred(),
      isDemand: false,
      isSettled: false,
      waiters: 0,
      request: undefined,
    };
    this.#flights.set(at, flight);
    return flight;
  }

  /** Not at once: spans that are wanted in the same turn of the event loop can share a request. */
  #schedulePump(): void {
    if (this.#isPumpDue) return;
    this.#isPumpDue = true;
    setImmediate(() => {
      this.#isPumpDue = false;
      this.#pump();
    });
  }

  #pump(): void {
    const { maxRequests } = this.#options.limits;
    for (;;) {
      const free = maxRequests - this.#requests.size;
      const first = this.#firstPending(free);
      if (first === undefined) return;
      void this.#start(this.#takeRun(first), { isQuiet: false });
    }
  }

  /** Never rejects. */
  #start(flights: readonly Flight[], { isQuiet }: { readonly isQuiet: boolean }): Promise<void> {
    const request: SpanRequest = { flights, abort: new AbortController(), isQuiet, next: 0 };
    for (const flight of flights) flight.request = request;
    const done = this.#run(request).finally(() => {
      this.#requests.delete(request);
      this.#schedulePump();
    });
    this.#requests.set(request, done);
    return done;
  }

  #firstPending(freeRequests: number): Flight | undefined {
    if (freeRequests <= 0) return undefined;
    for (const flight of this.#pending.values()) if (flight.isDemand) return flight;
    if (freeRequests <= DEMAND_REQUESTS && this.#requests.size > 0) return undefined;
    return this.#pending.values().next().value;
  }

  /** Takes pending spans around `first` that follow each other in the blob, as many as one request may bring. */
  #takeRun(first: Flight): Flight[] {
    const { maxRequestBytes } = this.#options.limits;
    const run = [first];
    this.#pending.delete(first.at);
    const sizeBytes = (): number =>
      (run.at(-1)?.span.compressedEnd ?? 0) - (run[0]?.span.compressedStart ?? 0);
    const extend = (step: 1 | -1): void => {
      for (let at = first.at + step; sizeBytes() < maxRequestBytes; at += step) {
        const neighbour = this.#pending.get(at);
        if (neighbour === undefined) return;
        this.#pending.delete(at);
        if (step === 1) run.push(neighbour);
        else run.unshift(neighbour);
      }
    };
    extend(1);
    extend(-1);
    return run;
  }

  /** Brings the flights of a request; never rejects. */
  async #run(request: SpanRequest): Promise<void> {
    const { signal } = request.abort;
    const finishing: Promise<void>[] = [];
    let isRetry = false;
    while (request.next < request.flights.length) {
      const before = request.next;
      try {
        await this.#stream(request, finishing);
      } catch (error) {
        isRetry = isRetry && request.next === before;
        const isFinal = isRetry || PERMANENT.includes(AppError.from(error).code);
        if (signal.aborted || isFinal) {
          for (const flight of request.flights.slice(request.next)) this.#fail(flight, error);
          break;
        }
        isRetry = true;
        this.#options.logger.warn("range request failed, it is repeated", {
          reason: AppError.from(error).message,
        });
      }
    }
    await Promise.all(finishing);
  }

  /** One GET for what the request still lacks. */
  async #stream(request: SpanRequest, finishing: Promise<void>[]): Promise<void> {
    const { signal } = request.abort;
    const flights = request.flights.slice(request.next);
    const [first, last] = [flights[0], flights.at(-1)];
    if (first === undefined || last === undefined) return;
    using reader = this.#openRange(first.span.compressedStart, last.span.compressedEnd, signal);
    let lastByte: Uint8Array = new Uint8Array(0);
    let position = first.span.compressedStart;
    for (const flight of flights) {
      const { compressedStart, compressedEnd, uncompressedStart, uncompressedEnd } = flight.span;
      const sizeBytes = compressedEnd - compressedStart;
      const release = await this.#budget.acquire(
        sizeBytes + uncompressedEnd - uncompressedStart,
        signal,
      );
      try {
        const compressed = this.#buffers.take(sizeBytes);
        // Where a border lies inside a byte, both spans have that byte.
        const shared = position - compressedStart;
        if (shared > 0) compressed.set(lastByte);
        await reader.fill(compressed.subarray(shared));
        position = compressedEnd;
        lastByte = compressed.slice(-1);
        request.next += 1;
        const finished = this.#finish(flight, compressed, signal).finally(release);
        finishing.push(finished);
        if (request.isQuiet) await finished;
      } catch (error) {
        release();
        throw error;
      }
    }
  }

  #openRange(start: number, end: number, signal: AbortSignal): RangeReader {
    const { blob, limits, metrics, layerDigest } = this.#options;
    this.#requestCount += 1;
    metrics.count("soci_layer_requests_total");
    return new RangeReader(blob.stream(start, end, { signal }), {
      what: `bytes ${start} to ${end} of layer ${layerDigest}`,
      signal,
      stallTimeoutMs: limits.stallTimeoutMs,
      onBytes: (count) => {
        this.#bytesFetched += count;
        metrics.count("soci_layer_fetched_bytes_total", count);
      },
    });
  }

  /** Verifies, inflates, serves, and then writes to the cache; never rejects. */
  async #finish(flight: Flight, compressed: Uint8Array, signal: AbortSignal): Promise<void> {
    const { at } = flight;
    try {
      const { bytes, checksums } = await this.#open(flight, compressed, signal);
      // Uncompressed spans are views of it.
      if (bytes.buffer !== compressed.buffer) this.#buffers.giveBack(compressed);
      flight.bytes.resolve(bytes);
      this.#stall = undefined;
      if (await this.#options.cache.writeSpan(at, bytes, checksums)) this.#uncached.delete(at);
      else this.#uncached.put(at, bytes);
      this.#settle(flight, () => {});
    } catch (error) {
      this.#fail(flight, error);
    }
  }

  /** What nobody waits for is opened where it keeps nobody waiting; as soon as a read joins it, or if that fails, like all others. */
  async #open(
    flight: Flight,
    compressed: Uint8Array,
    signal: AbortSignal,
  ): Promise<{ readonly bytes: Uint8Array; readonly checksums?: Uint32Array }> {
    if (flight.request?.isQuiet === true) {
      const opening = openQuietly(this.#options, flight.at, compressed);
      const opened = await abortable(Promise.race([opening, flight.demanded.promise]), signal);
      if (opened !== undefined) return opened;
    }
    const verified = await this.#verified(flight, compressed, signal);
    return { bytes: await inflateSpan(this.#options, flight.at, verified) };
  }

  /** The span's blob bytes with the right digest; fetches them once more if they are wrong. */
  async #verified(
    flight: Flight,
    compressed: Uint8Array,
    signal: AbortSignal,
  ): Promise<Uint8Array> {
    try {
      await verifySpan(this.#options, flight.at, compressed);
      return compressed;
    } catch (error) {
      const { logger, metrics } = this.#options;
      metrics.count("soci_layer_digest_mismatches_total");
      logger.warn("span has the wrong digest, it is fetched again", {
        reason: AppError.from(error).message,
      });
    }
    this.#options.blob.distrust?.();
    const { compressedStart, compressedEnd } = flight.span;
    using reader = this.#openRange(compressedStart, compressedEnd, signal);
    const again = new Uint8Array(compressedEnd - compressedStart);
    await reader.fill(again);
    await verifySpan(this.#options, flight.at, again);
    return again;
  }

  #fail(flight: Flight, error: unknown): void {
    const { code } = AppError.from(error);
    const isForNobody = flight.request?.isQuiet === true && !flight.isDemand;
    if (code !== "cancelled" && !flight.isSettled && !isForNobody) this.#remember(flight, error);
    if (code === "data_loss") this.#options.metrics.count("soci_layer_bad_spans_total");
    this.#settle(flight, () => flight.bytes.reject(error));
  }

  #remember(flight: Flight, error: unknown): void {
    const now = Date.now();
    for (const [at, { untilMs }] of this.#failures) if (untilMs <= now) this.#failures.delete(at);
    this.#failures.set(flight.at, { error, untilMs: now + FAILURE_MEMORY_MS });
  }

  #throwRecentFailure(at: number): void {
    const now = Date.now();
    const failure = this.#failures.get(at);
    if (failure !== undefined && failure.untilMs <= now) this.#failures.delete(at);
    for (const known of [failure, this.#stall]) {
      if (known !== undefined && known.untilMs > now) throw known.error;
    }
  }

  #settle(flight: Flight, tell: () => void): void {
    flight.isSettled = true;
    if (this.#flights.get(flight.at) === flight) this.#flights.delete(flight.at);
    tell();
    flight.over.resolve(undefined);
  }

  /** A waiter gave up: what nobody waits for any more is not fetched. */
  #left(flight: Flight, reason: unknown): void {
    if (flight.isSettled) return;
    // For one read(2) the kernel asks again, and for neighbours too: that must not take a deadline each.
    if (AppError.from(reason).code === "deadline_exceeded") {
      this.#stall = { error: reason, untilMs: Date.now() + FAILURE_MEMORY_MS };
    }
    if (flight.waiters > 0) return;
    const { request } = flight;
    if (request?.isQuiet === true) return;
    if (request === undefined) {
      this.#pending.delete(flight.at);
      this.#settle(flight, () => flight.bytes.reject(abandonedError()));
      return;
    }
    const open = request.flights.filter(({ isSettled }) => !isSettled);
    if (open.some(({ waiters }) => waiters > 0)) return;
    for (const it of open) this.#settle(it, () => it.bytes.reject(abandonedError()));
    request.abort.abort(abandonedError());
  }
}

function closedError(): AppError {
  return new AppError("cancelled", "Cannot read the layer: it is closed");
}

function abandonedError(): AppError {
  return new AppError("cancelled", "Cannot fetch the span: nobody waits for it any more");
}
