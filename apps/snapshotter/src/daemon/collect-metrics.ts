import { statfs } from "node:fs/promises";
import type { ServerStats } from "@soci-ts/snapshotter";
import { keyOf } from "../merged-histograms.ts";
import type { NodeMetrics } from "../metrics.ts";
import type { Daemon } from "./daemon.ts";

/**
 * Sets what is measured when it is asked for. Counters of the layer server start anew when it does; what it had counted until then
 * stays counted.
 */
export function collectMetrics(daemon: Daemon): void {
  const { metrics, layers, snapshots, door, config } = daemon;
  let last: ServerStats | undefined;
  metrics.onCollect(async () => {
    const local = layers.mountPoints.filter(({ isLocal }) => isLocal).length;
    const served = layers.mountPoints.length - local;
    metrics.set("soci_snapshotter_mounted_layers", served, { door: door.door });
    metrics.set("soci_snapshotter_mounted_layers", local, { door: "local" });
    for (const [kind, count] of Object.entries(snapshots.countByKind())) {
      metrics.set("soci_snapshotter_snapshots", count, { kind });
    }
    const usages = await Promise.all(
      [...snapshots.layersInUse()].map((layer) => layers.layerUsage(layer)),
    );
    const cacheBytes = usages.reduce((total, { sizeBytes }) => total + sizeBytes, 0);
    metrics.set("soci_snapshotter_cache_bytes", cacheBytes);
    metrics.set("soci_snapshotter_cache_quota_bytes", config.cache.quotaBytes);
    const { bavail, bsize } = await statfs(config.root);
    metrics.set("soci_snapshotter_free_bytes", bavail * bsize);
    const stats = await layers.serverStats();
    if (stats === undefined) return;
    metrics.set("soci_snapshotter_layer_server_restarts", stats.restarts);
    metrics.set("soci_snapshotter_layer_server_crashes", stats.crashes);
    metrics.set("soci_snapshotter_layer_server_kills_survived", stats.kills);
    addCounts(metrics, stats, last?.pid === stats.pid ? last : undefined);
    last = stats;
  });
}

/** Adds what a layer server has counted since it was asked last. */
function addCounts(metrics: NodeMetrics, now: ServerStats, before: ServerStats | undefined): void {
  for (const [name, count] of Object.entries(now.counters)) {
    metrics.count(name, count - (before?.counters[name] ?? 0));
  }
  const known = new Map(before?.histograms?.map((each) => [keyOf(each), each]));
  for (const histogram of now.histograms ?? [])
    metrics.merge(histogram, known.get(keyOf(histogram)));
}
