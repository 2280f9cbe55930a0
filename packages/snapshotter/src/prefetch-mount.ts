import { AppError, type ByteSource, type Logger, silentMetrics } from "@soci-ts/core";
import type { Speculator } from "@soci-ts/lazy-layer";
import type { SlotSource } from "./open-slot.ts";
import { readPrefetchFile } from "./prefetch-file.ts";
import { prefetchSpans } from "./prefetch-spans.ts";
import { slotPrefetchPath } from "./prepare-image.ts";

/** The same bytes, their reads counted as demand: nothing is fetched beside them that nobody waits for. */
export function countedReads(source: ByteSource, demand: Speculator): ByteSource {
  return {
    size: source.size,
    readAt: async (offset, length, options) => {
      demand.demandBegins();
      try {
        return await source.readAt(offset, length, options);
      } finally {
        demand.demandEnds(() => undefined);
      }
    },
  };
}

/** What {@link prefetchMount} works on. */
export interface PrefetchMountOptions {
  /** The mount's. */
  readonly directory: string;
  /** By slot. */
  readonly sources: readonly Pick<SlotSource, "fetchAbsent">[];
  readonly demand: Pick<Speculator, "quietMs">;
  readonly signal: AbortSignal;
  readonly logger: Logger;
}

/** Fetches what the prefetch lists of a mount's layers name, one layer after the other. What is wrong with one is logged. Never rejects. */
export async function prefetchMount(options: PrefetchMountOptions): Promise<void> {
  const { directory, sources, signal, logger } = options;
  for (const [slot, source] of sources.entries()) {
    const path = slotPrefetchPath(directory, slot);
    try {
      const ranges = await readPrefetchFile(path);
      if (ranges === undefined) continue;
      const how = { ...options, metrics: silentMetrics };
      await prefetchSpans(source, { slot, path, ranges }, how);
    } catch (error) {
      if (signal.aborted) return;
      logger.warn("layer not prefetched", { slot, error: AppError.from(error).message });
    }
  }
}
