import { readdir } from "node:fs/promises";
import { AppError, type Logger, type Metrics } from "@soci-ts/core";
import { type HydrationCandidate, Hydrator } from "@soci-ts/lazy-layer";
import type { DiskSlots } from "./disk-slots.ts";
import type { NodePaths } from "./node-paths.ts";
import { readSlotStats, type SlotStats, slotDirectory } from "./slot-files.ts";

/** How a node's layers are hydrated. */
export interface HydrationSettings {
  /** False: nothing is fetched; layers that are whole all the same are compared with their images' configs. */
  readonly isOn: boolean;
  /** Compressed bytes. */
  readonly maxBytesPerSecond: number;
  /** How long no read must have waited for the network before anything is fetched. */
  readonly idleMs: number;
}

/** What {@link slotHydrator} works on. */
export interface SlotHydratorOptions extends HydrationSettings {
  readonly paths: NodePaths;
  readonly slots: Pick<DiskSlots, "stats" | "use" | "quietMs">;
  /** False while nothing is to be fetched. Default: always true. */
  readonly mayFetch?: () => boolean;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

/**
 * Hydrates the layers that something has read, the one that lacks least first. Which these are stands in the figures on the disk, so neither
 * a daemon nor an earlier server need be there to say so; a layer that nobody has opened a file of is left alone.
 */
export function slotHydrator(options: SlotHydratorOptions): Hydrator {
  const { isOn, slots, paths, mayFetch = () => true, ...rest } = options;
  /** Closed layers that want nothing: they can't come to want anything before they are opened. */
  const settled = new Set<number>();
  const candidates = async (): Promise<readonly HydrationCandidate[]> => {
    const open = slots.stats();
    const wanting: { readonly slot: number; readonly stats: SlotStats }[] = [];
    for (const slot of (await namesIn(paths.slots)).map(Number)) {
      const known = open.get(slot);
      if (known === undefined && settled.has(slot)) continue;
      const stats = known ?? (await readSlotStats(slotDirectory(paths.slots, slot)));
      if (wants(stats)) wanting.push({ slot, stats });
      else if (known === undefined && stats.isComplete) settled.add(slot);
      else settled.delete(slot);
    }
    return wanting
      .sort((a, b) => restBytes(a.stats) - restBytes(b.stats))
      .map(({ slot, stats: { isComplete } }) => ({
        id: slot,
        isComplete,
        open: () => slots.use(slot),
      }));
  };
  return new Hydrator({
    ...rest,
    candidates,
    demand: slots,
    mayFetch: () => isOn && mayFetch(),
  });
}

/** A layer that is wrong is not worth another byte; nor can one be judged that was placed without a diffID. */
function wants({ bytesRead, isComplete, verdict }: SlotStats): boolean {
  if (bytesRead === 0 || verdict === "wrong") return false;
  return !isComplete || verdict === "unknown";
}

/** A keeper that systemd has started may be there before the daemon has made any directory. */
async function namesIn(directory: string): Promise<readonly string[]> {
  try {
    return await readdir(directory);
  } catch (error) {
    if (AppError.from(error).code === "not_found") return [];
    throw error;
  }
}

function restBytes({ sizeBytes, cachedBytes }: SlotStats): number {
  return sizeBytes - cachedBytes;
}
