import type { Metrics } from "@soci-ts/core";

/** Counters that another process asks for. */
export class CountingMetrics implements Metrics {
  readonly #counts = new Map<string, number>();

  count(name: string, amount = 1): void {
    this.#counts.set(name, (this.#counts.get(name) ?? 0) + amount);
  }

  /** All counters since the process started. */
  counts(): Readonly<Record<string, number>> {
    return Object.fromEntries(this.#counts);
  }
}
