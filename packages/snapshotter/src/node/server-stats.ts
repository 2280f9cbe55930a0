import type { IoOptions } from "@soci-ts/core";
import { callLocal } from "./local-call.ts";
import type { NodePaths } from "./node-paths.ts";
import { readSlotStats, type SlotStats, slotDirectory } from "./slot-files.ts";

/** What the layer server says of itself. */
export interface ServerStats {
  readonly pid: number;
  readonly rssBytes: number;
  /** Messages from the kernel since the process started. */
  readonly fuseMessages: number;
  /** The process's counters, by name. */
  readonly counters: Readonly<Record<string, number>>;
  /** Layers that it has open. */
  readonly slots: readonly (SlotStats & { readonly slot: number })[];
}

/** Asks the layer server. @throws AppError `unavailable` if it does not answer. */
export async function serverStats(paths: NodePaths, options: IoOptions = {}): Promise<ServerStats> {
  return (await callLocal(paths.layersSocket, "stats", null, options)) as unknown as ServerStats;
}

/** What reading layers has cost: as the server says for those it has open, as it last wrote down for others. */
export async function layerStats(
  paths: NodePaths,
  layers: readonly number[],
  server: ServerStats | undefined,
): Promise<ReadonlyMap<number, SlotStats>> {
  const open = new Map(server?.slots.map((stats) => [stats.slot, stats]));
  const stats = layers.map(async (layer) => {
    const known = open.get(layer) ?? (await readSlotStats(slotDirectory(paths.slots, layer)));
    return [layer, known] as const;
  });
  return new Map(await Promise.all(stats));
}
