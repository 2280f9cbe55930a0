import type { MetricLabels, Metrics } from "@soci-ts/core";

/**
 * Upper bounds of the buckets of every histogram that a process of the node keeps for the daemon, in seconds: a read that is answered from
 * the cache takes some ten microseconds, one that the registry does not answer a minute.
 */
export const LATENCY_BUCKETS: readonly number[] = [
  0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10,
  30, 60,
];

/** A histogram's figures since the process that keeps it started. */
export interface HistogramCounts {
  readonly name: string;
  readonly labels: MetricLabels;
  /** Measurements in each bucket of {@link LATENCY_BUCKETS}, and at the end those above the last; none is in two. */
  readonly buckets: readonly number[];
  /** Sum of all measurements. */
  readonly sum: number;
}

interface Histogram {
  readonly name: string;
  readonly labels: MetricLabels;
  readonly buckets: number[];
  sum: number;
}

/** Counters and histograms that another process asks for. */
export class CountingMetrics implements Metrics {
  readonly #counts = new Map<string, number>();
  readonly #histograms = new Map<string, Histogram>();

  count(name: string, amount = 1): void {
    this.#counts.set(name, (this.#counts.get(name) ?? 0) + amount);
  }

  observe(name: string, value: number, labels: MetricLabels = {}): void {
    const histogram = this.#histogram(name, labels);
    let at = 0;
    while (value > (LATENCY_BUCKETS[at] ?? Number.POSITIVE_INFINITY)) at += 1;
    histogram.buckets[at] = (histogram.buckets[at] ?? 0) + 1;
    histogram.sum += value;
  }

  /** All counters since the process started. */
  counts(): Readonly<Record<string, number>> {
    return Object.fromEntries(this.#counts);
  }

  /** All counters since this was called last; they begin anew. */
  takeCounts(): Readonly<Record<string, number>> {
    const counts = this.counts();
    this.#counts.clear();
    return counts;
  }

  /** All histograms since the process started. */
  histograms(): readonly HistogramCounts[] {
    return [...this.#histograms.values()];
  }

  #histogram(name: string, labels: MetricLabels): Histogram {
    const key = `${name} ${Object.values(labels).join(" ")}`;
    const known = this.#histograms.get(key);
    if (known !== undefined) return known;
    const buckets = Array.from({ length: LATENCY_BUCKETS.length + 1 }, () => 0);
    const fresh = { name, labels, buckets, sum: 0 };
    this.#histograms.set(key, fresh);
    return fresh;
  }
}
