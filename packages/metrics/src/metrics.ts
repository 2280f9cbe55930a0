import type { Metrics } from "@soci-ts/core";
import { Counter, Gauge, Histogram, Registry } from "prom-client";
import { knownLabels, type MetricTable } from "./table.ts";

/** Values of a metric's labels. */
export type LabelValues = Readonly<Record<string, string>>;

/**
 * A program's metrics. All names stand in one table; a name that does not is counted in `<prefix>_unknown_metrics_total`, and a label value outside
 * its set as `other`: a slip in a caller must neither break it nor open the number of series.
 */
export interface TableMetrics extends Metrics {
  count(name: string, amount?: number, labels?: LabelValues): void;
  /** Takes one measurement of a histogram, in the unit of its name. */
  observe(name: string, value: number, labels?: LabelValues): void;
  /** Sets a gauge. */
  set(name: string, value: number, labels?: LabelValues): void;
  /** A function that sets gauges; it is called before each {@link TableMetrics.text}. */
  onCollect(collect: () => void | Promise<void>): void;
  /** All metrics in Prometheus' text format. */
  text(): Promise<string>;
  /** Media type of {@link TableMetrics.text}. */
  readonly contentType: string;
}

/**
 * Makes an empty set of metrics.
 * @param table - has `<prefix>_unknown_metrics_total` and `<prefix>_resident_bytes`, which is set here, among others.
 */
export function createMetrics(table: MetricTable, prefix: string): TableMetrics {
  const registry = new Registry();
  const counters = new Map<string, Counter>();
  const gauges = new Map<string, Gauge>();
  const histograms = new Map<string, Histogram>();
  for (const [name, { type, help, labels = {}, buckets = [] }] of Object.entries(table)) {
    const options = { name, help, labelNames: Object.keys(labels), registers: [registry] };
    if (type === "counter") counters.set(name, new Counter(options));
    else if (type === "gauge") gauges.set(name, new Gauge(options));
    else histograms.set(name, new Histogram({ ...options, buckets: [...buckets] }));
  }
  const series = seriesCache(table);
  const collectors: (() => void | Promise<void>)[] = [];
  const unknown = () => counters.get(`${prefix}_unknown_metrics_total`)?.inc();
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
      else gauge.set(knownLabels(table[name], labels), value);
    },
    onCollect: (collect) => {
      collectors.push(collect);
    },
    text: async () => {
      gauges.get(`${prefix}_resident_bytes`)?.set(process.memoryUsage.rss());
      for (const collect of collectors) await collect();
      return registry.metrics();
    },
  };
}

type FindSeries = <S>(
  name: string,
  labels: LabelValues,
  find: (values: Record<string, string>) => S,
) => S;

/** Finding a series by its labels costs more than counting in it, so each is looked up once. There are only so many: labels are of closed sets. */
function seriesCache(table: MetricTable): FindSeries {
  const found = new Map<string, unknown>();
  return <S>(name: string, labels: LabelValues, find: (values: Record<string, string>) => S): S => {
    const key = name + JSON.stringify(labels);
    const cached = found.get(key);
    // One name is always looked up in the same way.
    if (cached !== undefined) return cached as S;
    const values = knownLabels(table[name], labels);
    const made = find(values);
    const isKnown = Object.entries(labels).every(([label, value]) => values[label] === value);
    if (isKnown) found.set(key, made);
    return made;
  };
}
