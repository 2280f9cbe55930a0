import type { Metrics } from "@soci-ts/core";

/** Counters that a test looks at. */
export class CountedMetrics implements Metrics {
  readonly #counts = new Map<string, number>();

  count(name: string, amount = 1): void {
    this.#counts.set(name, this.of(name) + amount);
  }

  /** What has been counted by this name. */
  of(name: string): number {
    return this.#counts.get(name) ?? 0;
  }

  observe(): void {}
}
