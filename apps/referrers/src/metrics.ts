import { statfs } from "node:fs/promises";
import type { Metrics } from "@soci-ts/core";
import type { CollectionEnd } from "@soci-ts/registry-server";
import { Counter, Gauge, Histogram, Registry } from "prom-client";
import { METRICS, type MetricSpec } from "./metrics-table.ts";

/** Values of a metric's labels. */
export type LabelValues = Readonly<Record<string, string>>;

/**
 * The service's metrics. All names stand in one table; a name that does not is counted in `soci_referrers_unknown_metrics_total`, and a label value outside
 * its set as `other`: a slip in a caller must neither break it nor open the number of series.
 */
export interface ServiceMetrics extends Metrics {
  count(name: string, amount?: number, labels?: LabelValues): void;
  /** Takes one measurement of a histogram, in the unit of its name. */
  observe(name: string, value: number, labels?: LabelValues): void;
  /** Sets a gauge. */
  set(name: string, value: number, labels?: LabelValues): void;
  /** A function that sets gauges; it is called before each {@link ServiceMetrics.text}. */
  onCollect(collect: () => void | Promise<void>): void;
  /** All metrics in Prometheus' text format. */
  text(): Promise<string>;
  /** Media type of {@link ServiceMetrics.text}. */
  readonly contentType: string;
}

const UNKNOWN = "soci_referrers_unknown_metrics_total";

/** Makes an empty set of metrics. */
export function createMetrics(): ServiceMetrics {
  const registry = new Registry();
  const counters = new Map<string, Counter>();
  const gauges = new Map<string, Gauge>();
  const histograms = new Map<string, Histogram>();
  for (const [name, spec] of Object.entries(METRICS)) {
    const { help, labels = {}, buckets = [] } = spec;
    const options = { name, help, labelNames: Object.keys(labels), registers: [registry] };
    if (spec.type === "counter") counters.set(name, new Counter(options));
    else if (spec.type === "gauge") gauges.set(name, new Gauge(options));
    else histograms.set(name, new Histogram({ ...options, buckets: [...buckets] }));
  }
  const series = seriesCache();
  const collectors: (() => void | Promise<void>)[] = [];
  const unknown = () => counters.get(UNKNOWN)?.inc();
  return {
    contentType: registry.contentType,
    count: (name, amount = 1, labels = {}) => {
      const counter = counters.get(name);
      // A counter never goes down; what is no number would make its series useless for good.
      if (counter === undefined || !(amount >= 0 && amount < Number.POSITIVE_INFINITY)) unknown();
      else series(name, labels, (values) => counter.labels(values)).inc(amount);
    },
    observe: (name, value, labels = {}) => {
      const histogram = histograms.get(name);
      if (histogram === undefined || !Number.isFinite(value)) unknown();
      else series(name, labels, (values) => histogram.labels(values)).observe(value);
    },
    set: (name, value, labels = {}) => {
      const gauge = gauges.get(name);
      if (gauge === undefined || !Number.isFinite(value)) unknown();
      else gauge.set(known(name, labels), value);
    },
    onCollect: (collect) => {
      collectors.push(collect);
    },
    text: async () => {
      gauges.get("soci_referrers_resident_bytes")?.set(process.memoryUsage.rss());
      for (const collect of collectors) await collect();
      return registry.metrics();
    },
  };
}

/** Counts a garbage collection. */
export function countCollection(metrics: ServiceMetrics, end: CollectionEnd): void {
  metrics.count("soci_referrers_gc_runs_total", 1, { outcome: end.kind });
  metrics.observe("soci_referrers_gc_duration_seconds", end.tookMs / 1000);
  if (end.kind === "failed") return;
  const { blobs, manifests, referrers, freedBytes } = end.report;
  metrics.count("soci_referrers_gc_removed_total", blobs, { kind: "blob" });
  metrics.count("soci_referrers_gc_removed_total", manifests, { kind: "manifest" });
  metrics.count("soci_referrers_gc_removed_total", referrers, { kind: "referrer" });
  metrics.count("soci_referrers_gc_freed_bytes_total", freedBytes);
}

/** Shows the free space of a root's file system from now on. */
export function watchFreeSpace(metrics: ServiceMetrics, root: string): void {
  metrics.onCollect(async () => {
    const { bavail, bsize } = await statfs(root);
    metrics.set("soci_referrers_free_bytes", bavail * bsize);
  });
}

/** Finding a series by its labels costs more than counting in it, so each is looked up once. There are only so many: labels are of closed sets. */
function seriesCache(): <S>(
  name: string,
  labels: LabelValues,
  find: (values: Record<string, string>) => S,
) => S {
  const found = new Map<string, unknown>();
  return <S>(name: string, labels: LabelValues, find: (values: Record<string, string>) => S): S => {
    const key = name + JSON.stringify(labels);
    const cached = found.get(key);
    // One name is always looked up in the same way.
    if (cached !== undefined) return cached as S;
    const values = known(name, labels);
    const made = find(values);
    const isKnown = Object.entries(labels).every(([label, value]) => values[label] === value);
    if (isKnown) found.set(key, made);
    return made;
  };
}

/** The labels that a metric has, each with a value of its set. */
function known(name: string, labels: LabelValues): Record<string, string> {
  const spec: MetricSpec | undefined = METRICS[name];
  return Object.fromEntries(
    Object.entries(spec?.labels ?? {}).map(([label, values]) => {
      const value = labels[label];
      return [label, value !== undefined && values.includes(value) ? value : "other"];
    }),
  );
}
