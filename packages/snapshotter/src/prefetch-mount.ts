import { AppError, type ByteSource, type Logger, silentMetrics } from "@soci-ts/core";
import type { SlotSource } from "./open-slot.ts";
import { readPrefetchFile, removePrefetchFile } from "./prefetch-file.ts";
import { prefetchSpans } from "./prefetch-spans.ts";
import { slotPrefetchPath } from "./prepare-image.ts";

/** Reads of a mount's layers, so that nothing is fetched beside them that nobody waits for. */
export class MountDemand {
  #reads = 0;
  #endedAtMs = Number.NEGATIVE_INFINITY;

  /** For how long nothing has been read, in milliseconds; 0 while something is. */
  get quietMs(): number {
    return this.#reads > 0 ? 0 : performance.now() - this.#endedAtMs;
  }

  /** The same bytes, their reads counted. */
  counted(source: ByteSource): ByteSource {
    return {
      size: source.size,
      readAt: async (offset, length, options) => {
        this.#reads += 1;
        try {
          return await source.readAt(offset, length, options);
        } finally {
          this.#reads -= 1;
          this.#endedAtMs = performance.now();
        }
      },
    };
  }
}

/** What {@link prefetchMount} works on. */
export interface PrefetchMountOptions {
  /** The mount's. */
  readonly directory: string;
  /** By slot. */
  readonly sources: readonly Pick<SlotSource, "fetchAbsent">[];
  readonly demand: Pick<MountDemand, "quietMs">;
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
      const { fetchedBytes, isCut } = await prefetchSpans(source, ranges, how);
      await removePrefetchFile(path);
      logger.info(isCut ? "prefetch list names too much" : "layer prefetched", {
        slot,
        fetchedBytes,
      });
    } catch (error) {
      if (signal.aborted) return;
      logger.warn("layer not prefetched", { slot, error: AppError.from(error).message });
    }
  }
}
