import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { SlotTraffic } from "./open-slot.ts";

/** What all reads of a mount have cost, layers that were read whole before it was mounted not counted. */
export interface MountStats extends SlotTraffic {
  /** Messages from the kernel to the serving process; those of mounting and unmounting are among them. */
  readonly fuseMessages: number;
}

/** Written by the serving process when its file system has been unmounted, read by the process that unmounted it. */
const STATS_FILE = "stats.json";

/** Adds up and writes down what the slots have cost. */
export async function writeMountStats(
  directory: string,
  slots: readonly SlotTraffic[],
  fuseMessages: number,
): Promise<void> {
  const sum = (field: keyof SlotTraffic): number =>
    slots.reduce((total, slot) => total + slot[field], 0);
  const stats: MountStats = {
    requests: sum("requests"),
    bytesFetched: sum("bytesFetched"),
    bytesRead: sum("bytesRead"),
    fuseMessages,
  };
  await writeFile(join(directory, STATS_FILE), JSON.stringify(stats), { mode: 0o600 });
}

/** What the serving process wrote; `undefined` if it was killed before it could. */
export async function readMountStats(directory: string): Promise<MountStats | undefined> {
  try {
    return JSON.parse(await readFile(join(directory, STATS_FILE), "utf8")) as MountStats;
  } catch {
    return undefined; // figures for people: not worth a failure
  }
}
