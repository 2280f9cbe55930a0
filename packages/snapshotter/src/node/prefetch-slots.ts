import { AppError, abortable, delay, type Logger, type Metrics, Semaphore } from "@soci-ts/core";
import type { HydratedLayer } from "@soci-ts/lazy-layer";
import type { DiskSlots } from "./disk-slots.ts";
import type { NodePaths } from "./node-paths.ts";
import { readPrefetchList, removePrefetchList } from "./prefetch-lists.ts";
import { slotDirectory } from "./slot-files.ts";

/** What {@link SlotPrefetcher} works on. */
export interface SlotPrefetcherOptions {
  readonly paths: Pick<NodePaths, "slots">;
  readonly slots: Pick<DiskSlots, "use" | "quietMs">;
  /** False while nothing is to be fetched that nobody waits for. */
  readonly mayFetch: () => boolean;
  readonly signal: AbortSignal;
  readonly logger: Logger;
  readonly metrics: Metrics;
  /** Compressed bytes of one layer that a list can have fetched; default 256 MiB. */
  readonly maxBytes?: number;
}

/** Whoever pushes an index can name all of a layer. */
const MAX_BYTES = 256 * 2 ** 20;

/** How long no read must have waited for the network. A program that starts thinks about as long between two of them. */
const QUIET_MS = 5;

/**
 * Fetches what a layer's prefetch list names, as soon as the layer is opened, which its mount does: one layer after the other, one
 * request at a time, each begun while no read waits for the network. Like a hydrator's, a request under way is not given up
 * when a read comes, which may join it. A list is done once: what is evicted later is not fetched again for its sake.
 */
export class SlotPrefetcher {
  readonly #options: SlotPrefetcherOptions;
  readonly #turn = new Semaphore(1);
  readonly #taken = new Set<number>();

  constructor(options: SlotPrefetcherOptions) {
    this.#options = options;
  }

  /** A layer was opened. Never throws, and what comes of it is never an unhandled rejection. */
  opened(slot: number): void {
    if (this.#taken.has(slot)) return;
    this.#taken.add(slot);
    const { signal, logger } = this.#options;
    this.#turn
      .run(() => this.#prefetch(slot), signal)
      .catch((error: unknown) => {
        if (signal.aborted) return;
        logger.warn("layer not prefetched", { slot, error: AppError.from(error).message });
      })
      .finally(() => this.#taken.delete(slot));
  }

  async #prefetch(slot: number): Promise<void> {
    const { paths, slots, logger } = this.#options;
    const directory = slotDirectory(paths.slots, slot);
    const ranges = await this.#read(directory);
    if (ranges === undefined) return;
    await using layer = await slots.use(slot);
    let fetchedBytes = 0;
    for (const range of ranges) {
      for (;;) {
        const bytes = await this.#fetch(layer, range);
        if (bytes === undefined) break;
        fetchedBytes += bytes;
        if (fetchedBytes < (this.#options.maxBytes ?? MAX_BYTES)) continue;
        logger.warn("prefetch list names too much", { slot, fetchedBytes });
        await removePrefetchList(directory);
        return;
      }
    }
    await removePrefetchList(directory);
    logger.info("layer prefetched", { slot, fetchedBytes });
  }

  /** A list that is damaged is in nobody's way any longer. */
  async #read(directory: string): ReturnType<typeof readPrefetchList> {
    try {
      return await readPrefetchList(directory);
    } catch (error) {
      await removePrefetchList(directory);
      throw error;
    }
  }

  async #fetch(
    layer: HydratedLayer,
    range: Parameters<HydratedLayer["fetchAbsent"]>[0],
  ): Promise<number | undefined> {
    const { slots, signal, mayFetch, metrics } = this.#options;
    while (slots.quietMs < QUIET_MS) await delay(QUIET_MS, signal);
    signal.throwIfAborted();
    if (!mayFetch()) throw new AppError("resource_exhausted", "Cannot prefetch: there is no room");
    const bytes = await abortable(layer.fetchAbsent(range), signal);
    metrics.count("soci_layer_prefetched_bytes_total", bytes ?? 0);
    return bytes;
  }
}
