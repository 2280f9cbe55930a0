import { AppError, abortable, delay, type Logger, type Metrics } from "@soci-ts/core";
import type { Speculator } from "./speculator.ts";
import type { LazyLayer } from "./types.ts";

/** A layer that lacks bytes, or a verdict on them. */
export interface HydrationCandidate {
  /** Names the layer for as long as the hydrator lives. */
  readonly id: number;
  /** True if it lacks no bytes. */
  readonly isComplete: boolean;
  /** @throws AppError if it can't be opened, or is gone. */
  open(): Promise<HydratedLayer>;
}

/** An open layer; disposing of it says that the hydrator does not use it any more. */
export type HydratedLayer = Pick<LazyLayer, "fetchAbsent" | "judge" | "verdict"> & AsyncDisposable;

/** How layers are hydrated. */
export interface HydratorOptions {
  /** The layers that want something, the one to begin with first. */
  readonly candidates: () => Promise<readonly HydrationCandidate[]>;
  /** Knows of the reads that wait for the same link. */
  readonly demand: Pick<Speculator, "quietMs">;
  /** Compressed bytes; over some seconds it is never more. */
  readonly maxBytesPerSecond: number;
  /** How long no read must have waited for the network before anything is fetched. */
  readonly idleMs: number;
  /** False while nothing is to be fetched: the cache is full, say. Default: always true. */
  readonly mayFetch?: (() => boolean) | undefined;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly clock?: HydrationClock;
}

/** Time, for tests. */
export interface HydrationClock {
  now(): number;
  sleep(ms: number, signal: AbortSignal): Promise<void>;
}

const REAL_CLOCK: HydrationClock = { now: () => performance.now(), sleep: delay };

/** How often it is looked for layers that want something when none did. */
const LOOK_INTERVAL_MS = 5000;

const FIRST_BACKOFF_MS = 5000;
const MAX_BACKOFF_MS = 300_000;

/** A layer that is left alone for a while. */
interface Backoff {
  readonly delayMs: number;
  readonly untilMs: number;
}

/**
 * Makes layers whole in the background: one layer after the other, one request of a few spans at a time, and nothing while a read waits for
 * the network or did a short while ago. Then the layer's bytes are compared with the image's config. What fails is tried again later, and later
 * each time.
 */
export class Hydrator {
  readonly #options: HydratorOptions;
  readonly #clock: HydrationClock;
  readonly #backoffs = new Map<number, Backoff>();
  /** When the link has been given back as much time as the bytes so far may take. */
  #paidMs = 0;

  constructor(options: HydratorOptions) {
    this.#options = options;
    this.#clock = options.clock ?? REAL_CLOCK;
  }

  /** Works until the signal aborts. Never rejects. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      try {
        if (!(await this.#turn(signal))) await this.#clock.sleep(LOOK_INTERVAL_MS, signal);
      } catch (error) {
        if (signal.aborted) return;
        const reason = AppError.from(error).message;
        this.#options.logger.error("layers not hydrated", { error: reason });
        await this.#clock.sleep(LOOK_INTERVAL_MS, signal).catch(() => {}); // ended: the loop sees it
      }
    }
  }

  /** Does what one layer needs; false if there is none for which anything is to be done now. */
  async #turn(signal: AbortSignal): Promise<boolean> {
    const candidate = await this.#next();
    if (candidate === undefined) return false;
    try {
      if (await this.#makeWhole(candidate, signal)) this.#backoffs.delete(candidate.id);
    } catch (error) {
      if (signal.aborted) throw error;
      this.#backOff(candidate.id, error);
    }
    return true;
  }

  async #next(): Promise<HydrationCandidate | undefined> {
    const now = this.#clock.now();
    const mayFetch = this.#mayFetch();
    return (await this.#options.candidates()).find(
      ({ id, isComplete }) =>
        (isComplete || mayFetch) && (this.#backoffs.get(id)?.untilMs ?? now) <= now,
    );
  }

  /** False if it had to stop on the way, with nothing wrong. */
  async #makeWhole(candidate: HydrationCandidate, signal: AbortSignal): Promise<boolean> {
    const { metrics, logger } = this.#options;
    await using layer = await candidate.open();
    let fetchedBytes = 0;
    while (!candidate.isComplete) {
      await this.#untilAllowed(signal);
      if (!this.#mayFetch()) return false;
      const bytes = await abortable(layer.fetchAbsent(), signal);
      if (bytes === undefined) break;
      fetchedBytes += bytes;
      metrics.count("soci_layer_hydrated_bytes_total", bytes);
      this.#pay(bytes);
    }
    if (fetchedBytes > 0) {
      metrics.count("soci_layer_hydrated_layers_total");
      logger.info("layer hydrated", { slot: candidate.id, fetchedBytes });
    }
    if (layer.verdict === undefined || (await layer.judge({ signal })) !== "unknown") return true;
    throw new AppError("unavailable", "Cannot judge the layer: its file has changed meanwhile");
  }

  /** Until no read has waited for a while, and the bytes so far have been paid for. */
  async #untilAllowed(signal: AbortSignal): Promise<void> {
    const { demand, idleMs } = this.#options;
    for (;;) {
      signal.throwIfAborted();
      const waitMs = Math.max(idleMs - demand.quietMs, this.#paidMs - this.#clock.now());
      if (waitMs <= 0) return;
      await this.#clock.sleep(Math.ceil(waitMs), signal);
    }
  }

  #pay(bytes: number): void {
    const from = Math.max(this.#paidMs, this.#clock.now());
    this.#paidMs = from + (bytes / this.#options.maxBytesPerSecond) * 1000;
  }

  #mayFetch(): boolean {
    return this.#options.mayFetch?.() ?? true;
  }

  #backOff(id: number, error: unknown): void {
    const previous = this.#backoffs.get(id)?.delayMs;
    const delayMs =
      previous === undefined ? FIRST_BACKOFF_MS : Math.min(2 * previous, MAX_BACKOFF_MS);
    this.#backoffs.set(id, { delayMs, untilMs: this.#clock.now() + delayMs });
    const reason = AppError.from(error).message;
    this.#options.logger.warn("layer not hydrated, later again", { slot: id, reason, delayMs });
  }
}
