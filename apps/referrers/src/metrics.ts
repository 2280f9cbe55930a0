import { statfs } from "node:fs/promises";
import { createMetrics, type TableMetrics } from "@soci-ts/metrics";
import type { CollectionEnd } from "@soci-ts/registry-server";
import { METRICS } from "./metrics-table.ts";

/** The service's metrics. */
export type ServiceMetrics = TableMetrics;

/** Makes an empty set of the service's metrics. */
export function serviceMetrics(): ServiceMetrics {
  return createMetrics(METRICS, "soci_referrers");
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
