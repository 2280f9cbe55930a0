import { statfs } from "node:fs/promises";
import type { Daemon } from "./daemon.ts";

/**
 * Sets what is measured when it is asked for. Counters of the layer server start anew when it does; what it had counted until then
 * stays counted.
 */
export function collectMetrics(daemon: Daemon): void {
  const { metrics, layers, snapshots, door, config } = daemon;
  const seen = new Map<string, number>();
  let server: number | undefined;
  metrics.onCollect(async () => {
    metrics.set("soci_snapshotter_mounted_layers", layers.mounted.length, { door: door.door });
    for (const [kind, count] of Object.entries(snapshots.countByKind())) {
      metrics.set("soci_snapshotter_snapshots", count, { kind });
    }
    const usages = await Promise.all(
      [...snapshots.layersInUse()].map((layer) => layers.layerUsage(layer)),
    );
    const cacheBytes = usages.reduce((total, { sizeBytes }) => total + sizeBytes, 0);
    metrics.set("soci_snapshotter_cache_bytes", cacheBytes);
    const { bavail, bsize } = await statfs(config.root);
    metrics.set("soci_snapshotter_free_bytes", bavail * bsize);
    const stats = await layers.serverStats();
    if (stats === undefined) return;
    metrics.set("soci_snapshotter_layer_server_restarts", stats.restarts);
    metrics.set("soci_snapshotter_layer_server_crashes", stats.crashes);
    metrics.set("soci_snapshotter_layer_server_kills_survived", stats.kills);
    if (stats.pid !== server) seen.clear();
    server = stats.pid;
    for (const [name, count] of Object.entries(stats.counters)) {
      metrics.count(name, count - (seen.get(name) ?? 0));
      seen.set(name, count);
    }
  });
}
