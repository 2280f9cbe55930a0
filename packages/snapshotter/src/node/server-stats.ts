import type { IoOptions } from "@soci-ts/core";
import type { JsonValue } from "../mount-record.ts";
import type { Evicted } from "./cache-eviction.ts";
import type { HistogramCounts } from "./counting-metrics.ts";
import { callLocal } from "./local-call.ts";
import type { NodePaths } from "./node-paths.ts";
import { readSlotStats, type SlotStats, slotDirectory } from "./slot-files.ts";

/** What the layer server says of itself. */
export interface ServerStats {
  readonly pid: number;
  readonly rssBytes: number;
  /** The program's version; empty where it was not told. */
  readonly version: string;
  /** How often a server of this connection was started again, after crashes and kills. */
  readonly restarts: number;
  readonly crashes: number;
  readonly kills: number;
  /** Messages from the kernel since the process started. */
  readonly fuseMessages: number;
  /** The process's counters, by name. */
  readonly counters: Readonly<Record<string, number>>;
  /** The process's histograms; absent from a server of an older version. */
  readonly histograms?: readonly HistogramCounts[];
  /** When something was last evicted, and how much; null: nothing since the process started. */
  readonly lastEviction: { readonly atMs: number; readonly sizeBytes: number } | null;
  /** Layers that it has open. */
  readonly slots: readonly (SlotStats & { readonly slot: number })[];
}

/** A layer server that takes longer is taken for hung. */
const ANSWER_TIMEOUT_MS = 5000;

/** Asks the layer server. @throws AppError `unavailable` if there is none; the reason of a time-out if it does not answer. */
export async function serverStats(paths: NodePaths, options: IoOptions = {}): Promise<ServerStats> {
  return (await callServer(paths, "stats", null, options)) as unknown as ServerStats;
}

/** Makes the layer server let go of a layer's files. A server that is gone, or hung, has nothing that is of use to anybody. */
export async function closeServedLayer(paths: NodePaths, layer: number): Promise<void> {
  await callServer(paths, "close", layer).catch(() => {}); // see above
}

/** Deleting is slow on some disks. */
const EVICT_TIMEOUT_MS = 600_000;

/** Brings caches down to their limits now; `all`: gives up everything that nobody has read lately. @throws AppError `unavailable`. */
export async function evictServedLayers(
  paths: NodePaths,
  { all }: { readonly all: boolean },
): Promise<Evicted> {
  const how = all ? "all" : "limits";
  return (await callServer(paths, "evict", how, {}, EVICT_TIMEOUT_MS)) as unknown as Evicted;
}

async function callServer(
  paths: NodePaths,
  method: "stats" | "close" | "evict",
  params: JsonValue,
  { signal }: IoOptions = {},
  timeoutMs = ANSWER_TIMEOUT_MS,
): Promise<JsonValue> {
  const timeout = AbortSignal.timeout(timeoutMs);
  const either = signal === undefined ? timeout : AbortSignal.any([signal, timeout]);
  return await callLocal(paths.layersSocket, method, params, { signal: either });
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
