/** Keys that are remembered; the one that asked longest ago goes first, and begins anew when it comes back. */
const MAX_KEYS = 10_000;

interface Bucket {
  tokens: number;
  filledMs: number;
}

/** How often something may happen. */
export interface Rate {
  readonly perSecond: number;
  /** How many may come at once after a pause. */
  readonly burst: number;
}

/** Counts by key, each with a bucket that fills steadily. Bounded: keys come from clients. */
export class RateLimiter {
  readonly #rate: Rate;
  readonly #buckets = new Map<string, Bucket>();

  constructor(rate: Rate) {
    this.#rate = rate;
  }

  /** Takes one. Returns 0, or the milliseconds until there is one to take. */
  take(key: string, nowMs: number = performance.now()): number {
    const bucket = this.#bucket(key, nowMs);
    if (bucket.tokens < 1) return this.#waitMs(bucket);
    bucket.tokens -= 1;
    return 0;
  }

  /** What {@link RateLimiter.take} would return; takes nothing. */
  peek(key: string, nowMs: number = performance.now()): number {
    const bucket = this.#bucket(key, nowMs);
    return bucket.tokens < 1 ? this.#waitMs(bucket) : 0;
  }

  #waitMs({ tokens }: Bucket): number {
    return Math.max(1, ((1 - tokens) / this.#rate.perSecond) * 1000);
  }

  #bucket(key: string, nowMs: number): Bucket {
    const { perSecond, burst } = this.#rate;
    const found = this.#buckets.get(key) ?? { tokens: burst, filledMs: nowMs };
    const gained = (Math.max(0, nowMs - found.filledMs) / 1000) * perSecond;
    const bucket = { tokens: Math.min(burst, found.tokens + gained), filledMs: nowMs };
    // Deleted first, so that the map's order is that of use.
    this.#buckets.delete(key);
    this.#buckets.set(key, bucket);
    const [oldest] = this.#buckets.size > MAX_KEYS ? this.#buckets.keys() : [];
    if (oldest !== undefined) this.#buckets.delete(oldest);
    return bucket;
  }
}
