import { AppError, Semaphore } from "@soci-ts/core";
import { readPrefetchFile } from "../prefetch-file.ts";
import { type PrefetchSpansOptions, prefetchSpans } from "../prefetch-spans.ts";
import type { DiskSlots } from "./disk-slots.ts";
import type { NodePaths } from "./node-paths.ts";
import { prefetchPath } from "./prefetch-lists.ts";
import { slotDirectory } from "./slot-files.ts";

/** What {@link SlotPrefetcher} works on. */
export interface SlotPrefetcherOptions extends Omit<PrefetchSpansOptions, "demand"> {
  readonly paths: Pick<NodePaths, "slots">;
  readonly slots: Pick<DiskSlots, "use" | "quietMs">;
}

/**
 * Fetches what a layer's prefetch list names, as soon as the layer is opened, which its mount does: one layer after the other. A list is done
 * once: what is evicted later is not fetched again for its sake.
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
    const { paths, slots } = this.#options;
    const path = prefetchPath(slotDirectory(paths.slots, slot));
    const ranges = await readPrefetchFile(path);
    if (ranges === undefined) return;
    await using layer = await slots.use(slot);
    await prefetchSpans(layer, { slot, path, ranges }, { ...this.#options, demand: slots });
  }
}
