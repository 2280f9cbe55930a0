import type { Metrics } from "@soci-ts/core";
import type { HistogramCounts } from "@soci-ts/snapshotter";
import { Counter, Gauge, Histogram, Registry } from "prom-client";
import { MergedHistograms } from "./merged-histograms.ts";
import { METRICS, type MetricSpec } from "./metrics-table.ts";

/** Values of a metric's labels. */
export type LabelValues = Readonly<Record<string, string>>;

/**
 * The daemon's metrics. All names stand in one table; a name that does not is counted in `soci_snapshotter_unknown_metrics_total`, and a
 * label value outside its set as `other`: a slip in a caller must neither break it nor open the number of series.
 */
export interface NodeMetrics extends Metrics {
  count(name: string, amount?: number, labels?: LabelValues): void;
  /** Takes one measurement of a histogram, in the unit of its name. */
  observe(name: string, value: number, labels?: LabelValues): void;
  /** Adds what a histogram of another process has more than it had before. */
  merge(now: HistogramCounts, before: HistogramCounts | undefined): void;
  /** Sets a gauge. */
  set(name: string, value: number, labels?: LabelValues): void;
  /** A function that sets gauges; it is called before each {@link NodeMetrics.text}. */
  onCollect(collect: () => void | Promise<void>): void;
  /** All metrics in Prometheus' text format. */
  text(): Promise<string>;
  /** Media type of {@link NodeMetrics.text}. */
  readonly contentType: string;
}

const UNKNOWN = "soci_snapshotter_unknown_metrics_total";

/** Makes an empty set of metrics. */
export function createMetrics(): NodeMetrics {
  const registry = new Registry();
  const counters = new Map<string, Counter>();
  const gauges = new Map<string, Gauge>();
  const histograms = new Map<string, Histogram>();
  for (const [name, spec] of Object.entries(METRICS)) {
    const options = {
      name,
      help: spec.help,
      labelNames: Object.keys(spec.labels ?? {}),
      registers: [registry],
    };
    if (spec.type === "counter") counters.set(name, new Counter(options));
    else if (spec.type === "gauge") gauges.set(name, new Gauge(options));
    else if (spec.isMerged !== true) {
      histograms.set(name, new Histogram({ ...options, buckets: [...(spec.buckets ?? [])] }));
    }
  }
  const merged = new MergedHistograms();
  const collectors: (() => void | Promise<void>)[] = [];
  const unknown = () => counters.get(UNKNOWN)?.inc();
  return {
    contentType: registry.contentType,
    count: (name, amount = 1, labels = {}) => {
      const counter = counters.get(name);
      // A counter never goes down; what is no number would make its series useless for good.
      if (counter === undefined || !(amount >= 0 && amount < Number.POSITIVE_INFINITY)) unknown();
      else counter.inc(known(name, labels), amount);
    },
    observe: (name, value, labels = {}) => {
      const histogram = histograms.get(name);
      if (histogram === undefined || !Number.isFinite(value)) unknown();
      else histogram.observe(known(name, labels), value);
    },
    merge: (now, before) => {
      const { name } = now;
      if (METRICS[name]?.type !== "histogram") unknown();
      else merged.add({ ...now, labels: known(name, now.labels) }, before);
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
      gauges.get("soci_snapshotter_resident_bytes")?.set(process.memoryUsage.rss());
      for (const collect of collectors) await collect();
      return `${await registry.metrics()}${merged.text()}`;
    },
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
