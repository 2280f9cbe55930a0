import {
  createMetrics as createTableMetrics,
  knownLabels,
  type TableMetrics,
} from "@soci-ts/metrics";
import type { HistogramCounts } from "@soci-ts/snapshotter";
import { MergedHistograms } from "./merged-histograms.ts";
import { METRICS } from "./metrics-table.ts";

const PREFIX = "soci_snapshotter";

/** The daemon's metrics. */
export interface NodeMetrics extends TableMetrics {
  /** Adds what a histogram of another process has more than it had before. */
  merge(now: HistogramCounts, before: HistogramCounts | undefined): void;
}

/** Makes an empty set of metrics. */
export function createMetrics(): NodeMetrics {
  const own = Object.entries(METRICS).filter(([, { isMerged }]) => isMerged !== true);
  const metrics = createTableMetrics(Object.fromEntries(own), PREFIX);
  const merged = new MergedHistograms();
  return {
    ...metrics,
    merge: (now, before) => {
      const spec = METRICS[now.name];
      if (spec?.type !== "histogram") metrics.count(`${PREFIX}_unknown_metrics_total`);
      else merged.add({ ...now, labels: knownLabels(spec, now.labels) }, before);
    },
    text: async () => `${await metrics.text()}${merged.text()}`,
  };
}
