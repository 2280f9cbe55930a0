export { createMetrics, type LabelValues, type TableMetrics } from "./metrics.ts";
export { knownLabels, type MetricSpec, type MetricTable } from "./table.ts";
