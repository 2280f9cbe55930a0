import { setImmediate } from "node:timers/promises";
import { AppError, type Logger, type Metrics } from "@soci-ts/core";
import type { CacheSpace, PunchHole } from "@soci-ts/lazy-layer";
import type { SlotCache } from "../open-slot.ts";
import type { OpenCache } from "./disk-slots.ts";
import { type CacheLimits, excessBytes, isRoomy, type SpaceUse } from "./eviction-policy.ts";

/** A layer that the layer server has not open. */
export interface ClosedLayer {
  /** When it was last read, or came to this node. */
  readonly usedAtMs: number;
  readonly isMounted: boolean;
  /** True if it can't be read in part: what goes of it means that all of it is fetched again. */
  readonly isLastResort: boolean;
  /** Deletes its bytes, unless somebody has opened it meanwhile. @returns bytes of disk that this freed. */
  remove(): Promise<number>;
  /** Opens it, to be given up piece by piece. */
  open(): Promise<OpenCache | undefined>;
}

/** What {@link CacheEviction} works on. */
export interface EvictionGround {
  /** Disk space of all caches: looks at each file. */
  allocatedBytes(): Promise<number>;
  freeBytes(): Promise<number>;
  closedLayers(): Promise<readonly ClosedLayer[]>;
  openCaches(): readonly OpenCache[];
  /** Absent where the system can't: then layers go as a whole, or not at all. */
  readonly punchHole: PunchHole | undefined;
}

/** How {@link CacheEviction} is set up. */
export interface CacheEvictionOptions {
  readonly ground: EvictionGround;
  readonly limits: CacheLimits;
  readonly logger: Logger;
  readonly metrics: Metrics;
  /** What was read within this time stays; default 30,000. */
  readonly recentMs?: number | undefined;
  /** Default `Date.now`. */
  readonly now?: (() => number) | undefined;
}

/** What was given up. */
export interface Evicted {
  /** Layers that went as a whole. */
  readonly layers: number;
  readonly chunks: number;
  /** Bytes of disk. */
  readonly sizeBytes: number;
}

const DEFAULT_RECENT_MS = 30_000;

/** All files are looked at again after this time, since other processes write too; before it, if much was written here. */
const MEASURE_INTERVAL_MS = 30_000;

/** A write that failed for want of space makes this much room, whatever the file system says is free. */
const FULL_BYTES = 32 * 2 ** 20;

/** Rounds of one eviction: what is freed is known for sure only by measuring. */
const MAX_ROUNDS = 3;

/**
 * Keeps the caches of layers within their limits. The least recently used goes first: layers that are neither mounted nor open, as a whole; then
 * spans of those that are mounted, but that nobody has read for a while; then spans of open ones; and last, unmounted layers that can't
 * be read in part. What was read within the last {@link DEFAULT_RECENT_MS} stays, whatever the limits say.
 */
export class CacheEviction implements CacheSpace {
  readonly #options: CacheEvictionOptions;
  readonly #recentMs: number;
  readonly #now: () => number;
  #use: SpaceUse = { allocatedBytes: 0, freeBytes: Number.MAX_SAFE_INTEGER };
  #measuredAtMs = Number.NEGATIVE_INFINITY;
  /** After a search that found nothing to give up: what there is was read lately. */
  #fruitlessUntilMs = Number.NEGATIVE_INFINITY;
  /** Written since the last measurement. */
  #writtenBytes = 0;
  #isFull = false;
  #looking: Promise<void> | undefined;
  #evicting: Promise<unknown> = Promise.resolve();
  #last: { readonly atMs: number; readonly sizeBytes: number } | undefined;
  #isClosed = false;

  constructor(options: CacheEvictionOptions) {
    this.#options = options;
    this.#recentMs = options.recentMs ?? DEFAULT_RECENT_MS;
    this.#now = options.now ?? Date.now;
  }

  /** The last eviction that freed something. */
  get last(): { readonly atMs: number; readonly sizeBytes: number } | undefined {
    return this.#last;
  }

  /** True if there is room for bytes that nobody has asked for yet. As of the last look: cheap. */
  hasRoom(): boolean {
    return !this.#isFull && isRoomy(this.#options.limits, this.#estimate());
  }

  wrote(sizeBytes: number): void {
    this.#writtenBytes += sizeBytes;
    if (excessBytes(this.#options.limits, this.#estimate()) > 0) void this.look();
  }

  full(): void {
    this.#isFull = true;
    void this.look();
  }

  /** Looks whether something has to go, and sees to it. Never rejects. Calls that come meanwhile share it. */
  look(): Promise<void> {
    this.#looking ??= this.#look()
      .catch((error: unknown) => {
        const { message } = AppError.from(error);
        this.#options.logger.warn("caches not looked at", { error: message });
      })
      .finally(() => {
        this.#looking = undefined;
      });
    return this.#looking;
  }

  /** Brings caches down to their limits now; `all`: gives up everything that was not read lately. @throws AppError if the disk can't be read. */
  async evictNow({ all }: { readonly all: boolean }): Promise<Evicted> {
    await this.#measure();
    const wanted = all ? Number.POSITIVE_INFINITY : this.#excess();
    return await this.#evict(wanted);
  }

  /** Waits for what goes on. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#looking;
    await this.#evicting;
  }

  async #look(): Promise<void> {
    // Not in the turn of the read that has brought the bytes.
    await setImmediate();
    const isDue = this.#now() - this.#measuredAtMs > MEASURE_INTERVAL_MS;
    const mayBeOver = excessBytes(this.#options.limits, this.#estimate()) > 0;
    const freeBytes = await this.#options.ground.freeBytes();
    this.#use = { ...this.#use, freeBytes: freeBytes + this.#writtenBytes };
    if (isDue || mayBeOver || this.#isFull) await this.#measure();
    if (this.#now() < this.#fruitlessUntilMs && !this.#isFull) return;
    for (let round = 0; round < MAX_ROUNDS; round += 1) {
      const wanted = this.#excess();
      if (wanted === 0 || this.#isClosed) return;
      this.#isFull = false;
      const { sizeBytes } = await this.#evict(wanted);
      if (sizeBytes === 0) this.#fruitlessUntilMs = this.#now() + this.#recentMs / 2;
      if (sizeBytes === 0) return;
      await this.#measure();
    }
  }

  #excess(): number {
    const excess = excessBytes(this.#options.limits, this.#use);
    return this.#isFull ? Math.max(excess, FULL_BYTES) : excess;
  }

  #estimate(): SpaceUse {
    const { allocatedBytes, freeBytes } = this.#use;
    return {
      allocatedBytes: allocatedBytes + this.#writtenBytes,
      freeBytes: freeBytes - this.#writtenBytes,
    };
  }

  async #measure(): Promise<void> {
    const { ground, limits } = this.#options;
    this.#writtenBytes = 0;
    this.#measuredAtMs = this.#now();
    const allocatedBytes = limits.quotaBytes > 0 ? await ground.allocatedBytes() : 0;
    this.#use = { allocatedBytes, freeBytes: await ground.freeBytes() };
  }

  /** One after the other. */
  #evict(wantedBytes: number): Promise<Evicted> {
    const evicting = this.#evicting.then(() => this.#evictInOrder(wantedBytes));
    this.#evicting = evicting.catch(() => {}); // it is thrown to the caller
    return evicting;
  }

  async #evictInOrder(wantedBytes: number): Promise<Evicted> {
    if (wantedBytes <= 0) return { layers: 0, chunks: 0, sizeBytes: 0 };
    const { ground, logger, metrics } = this.#options;
    const run = new EvictionRun(wantedBytes, ground.punchHole, () => this.#isClosed);
    const olderThanMs = this.#now() - this.#recentMs;
    const closed = (await ground.closedLayers())
      .filter(({ usedAtMs }) => usedAtMs < olderThanMs)
      .sort((a, b) => a.usedAtMs - b.usedAtMs);
    const unmounted = closed.filter(({ isMounted }) => !isMounted);
    for (const layer of unmounted) if (!layer.isLastResort) await run.remove(layer);
    for (const layer of closed) {
      if (layer.isMounted && !layer.isLastResort) await run.shrink(layer, olderThanMs);
    }
    await run.evictSpans(ground.openCaches(), olderThanMs);
    for (const layer of unmounted) if (layer.isLastResort) await run.remove(layer);
    const evicted = run.evicted();
    if (evicted.sizeBytes === 0) return evicted;
    this.#last = { atMs: this.#now(), sizeBytes: evicted.sizeBytes };
    metrics.count("soci_layer_evicted_bytes_total", evicted.sizeBytes);
    metrics.count("soci_layer_evicted_chunks_total", evicted.chunks);
    logger.info("cached bytes evicted", { ...evicted });
    return evicted;
  }
}

interface SpanQueue {
  readonly cache: SlotCache;
  readonly spans: readonly { readonly span: number; readonly usedAtMs: number }[];
  next: number;
}

/** One eviction: gives up one thing after the other until enough has gone. */
class EvictionRun {
  readonly #wantedBytes: number;
  readonly #punchHole: PunchHole | undefined;
  readonly #isStopped: () => boolean;
  #layers = 0;
  #chunks = 0;
  #sizeBytes = 0;

  constructor(wantedBytes: number, punchHole: PunchHole | undefined, isStopped: () => boolean) {
    this.#wantedBytes = wantedBytes;
    this.#punchHole = punchHole;
    this.#isStopped = isStopped;
  }

  evicted(): Evicted {
    return { layers: this.#layers, chunks: this.#chunks, sizeBytes: this.#sizeBytes };
  }

  get #isDone(): boolean {
    return this.#sizeBytes >= this.#wantedBytes || this.#isStopped();
  }

  /** Gives up a closed layer as a whole. */
  async remove(layer: ClosedLayer): Promise<void> {
    if (this.#isDone) return;
    const sizeBytes = await layer.remove();
    if (sizeBytes > 0) this.#layers += 1;
    this.#sizeBytes += sizeBytes;
  }

  /** Gives up as much of a closed layer as is wanted. */
  async shrink(layer: ClosedLayer, olderThanMs: number): Promise<void> {
    if (this.#isDone) return;
    if (this.#punchHole === undefined) return await this.remove(layer);
    const open = await layer.open().catch(() => undefined); // who reads it is told why it can't be opened
    if (open !== undefined) await this.evictSpans([open], olderThanMs);
  }

  /** Gives up spans, the one that was not read for longest first, whichever cache it is in. */
  async evictSpans(caches: readonly OpenCache[], olderThanMs: number): Promise<void> {
    const punchHole = this.#punchHole;
    if (punchHole === undefined || this.#isDone) return;
    const queues: SpanQueue[] = [];
    for (const { cache, usedAtMs } of caches) {
      this.#sizeBytes += await cache.reclaimStrays(punchHole);
      queues.push({ cache, spans: oldSpans(cache, usedAtMs, olderThanMs), next: 0 });
      // Others have their turn: a layer can have thousands of spans.
      await setImmediate();
    }
    while (!this.#isDone) {
      const queue = oldestOf(queues);
      const span = queue?.spans[queue.next]?.span;
      if (queue === undefined || span === undefined) return;
      queue.next += 1;
      const { chunks, sizeBytes, failure } = await queue.cache.evictSpan(span, punchHole);
      if (failure !== undefined) return;
      this.#chunks += chunks;
      this.#sizeBytes += sizeBytes;
    }
  }
}

/** Spans that were not read lately, oldest first. Of one that was not read since the layer was opened, the layer's time before that counts. */
function oldSpans(
  cache: SlotCache,
  layerUsedAtMs: number,
  olderThanMs: number,
): SpanQueue["spans"] {
  return cache
    .cachedSpans()
    .map(({ span, usedAtMs }) => ({ span, usedAtMs: usedAtMs || layerUsedAtMs }))
    .filter(({ usedAtMs }) => usedAtMs < olderThanMs)
    .sort((a, b) => a.usedAtMs - b.usedAtMs);
}

function oldestOf(queues: readonly SpanQueue[]): SpanQueue | undefined {
  let oldest: SpanQueue | undefined;
  let oldestMs = Number.POSITIVE_INFINITY;
  for (const queue of queues) {
    const usedAtMs = queue.spans[queue.next]?.usedAtMs ?? Number.POSITIVE_INFINITY;
    if (usedAtMs < oldestMs) [oldest, oldestMs] = [queue, usedAtMs];
  }
  return oldest;
}
