import type { IoOptions } from "@soci-ts/core";
import type { JsonValue } from "../mount-record.ts";
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

async function callServer(
  paths: NodePaths,
  method: "stats" | "close",
  params: JsonValue,
  { signal }: IoOptions = {},
): Promise<JsonValue> {
  const timeout = AbortSignal.timeout(ANSWER_TIMEOUT_MS);
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
