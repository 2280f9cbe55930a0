import { type HistogramCounts, LATENCY_BUCKETS } from "@soci-ts/snapshotter";
import { METRICS } from "./metrics-table.ts";

/** A histogram's figures, without what they are of. */
type Figures = Pick<HistogramCounts, "buckets" | "sum">;

interface Series extends HistogramCounts {
  readonly buckets: number[];
  sum: number;
}

/**
 * Histograms that another process keeps, as one that goes on when the process is started anew. prom-client takes measurements one by one
 * only, and there are thousands of reads a second; so these are added up here, and written in Prometheus' text format.
 */
export class MergedHistograms {
  readonly #series = new Map<string, Series>();

  /** Adds what `now` has more than `before`. Figures of another number of buckets, from another version, are left out. */
  add(now: HistogramCounts, before: Figures | undefined): void {
    if (now.buckets.length !== LATENCY_BUCKETS.length + 1) return;
    const series = this.#seriesOf(now);
    for (const [at, count] of now.buckets.entries()) {
      series.buckets[at] =
        (series.buckets[at] ?? 0) + Math.max(0, count - (before?.buckets[at] ?? 0));
    }
    series.sum += Math.max(0, now.sum - (before?.sum ?? 0));
  }

  /** All of them in Prometheus' text format. */
  text(): string {
    const lines: string[] = [];
    let name = "";
    for (const series of [...this.#series.values()].sort(byName)) {
      if (series.name !== name) {
        name = series.name;
        lines.push(`# HELP ${name} ${METRICS[name]?.help}`, `# TYPE ${name} histogram`);
      }
      lines.push(...linesOf(series));
    }
    return lines.length === 0 ? "" : `${lines.join("\n")}\n`;
  }

  #seriesOf({ name, labels }: HistogramCounts): Series {
    const key = keyOf({ name, labels });
    const known = this.#series.get(key);
    if (known !== undefined) return known;
    const buckets = Array.from({ length: LATENCY_BUCKETS.length + 1 }, () => 0);
    const fresh = { name, labels, buckets, sum: 0 };
    this.#series.set(key, fresh);
    return fresh;
  }
}

/** Tells one series from another. */
export function keyOf({ name, labels }: Pick<HistogramCounts, "name" | "labels">): string {
  return `${name} ${labelText(labels)}`;
}

function byName(a: HistogramCounts, b: HistogramCounts): number {
  const [left, right] = [keyOf(a), keyOf(b)];
  return left < right ? -1 : Number(left > right);
}

/** Prometheus' buckets hold all that is at most their bound, those before them included. */
function linesOf({ name, labels, buckets, sum }: Series): readonly string[] {
  let total = 0;
  const lines = buckets.map((count, at) => {
    total += count;
    const le = LATENCY_BUCKETS[at] ?? "+Inf";
    return `${name}_bucket{${labelText({ ...labels, le: String(le) })}} ${total}`;
  });
  const own = labelText(labels);
  return [...lines, `${name}_sum{${own}} ${sum}`, `${name}_count{${own}} ${total}`];
}

function labelText(labels: HistogramCounts["labels"]): string {
  return Object.entries(labels)
    .map(([label, value]) => `${label}="${value}"`)
    .join(",");
}
