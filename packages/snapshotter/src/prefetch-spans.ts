import { AppError, abortable, delay, type Logger, type Metrics } from "@soci-ts/core";
import type { SpanRange } from "@soci-ts/layer-index";
import type { HydratedLayer } from "@soci-ts/lazy-layer";
import { removePrefetchFile } from "./prefetch-file.ts";

/** How spans are fetched that nobody waits for yet. */
export interface PrefetchSpansOptions {
  /** Whose reads come first. */
  readonly demand: {
    /** For how long no read has waited, in milliseconds; 0 while one does. */
    readonly quietMs: number;
  };
  /** False while there is no room for what is fetched. Default: always true. */
  readonly mayFetch?: () => boolean;
  readonly signal: AbortSignal;
  readonly metrics: Metrics;
  readonly logger: Logger;
  /** Compressed bytes of one layer that a list can have fetched; default 256 MiB. */
  readonly maxBytes?: number | undefined;
}

/** What is still to be prefetched of a layer. */
export interface PrefetchWork {
  /** For the log. */
  readonly slot: number;
  /** The file of the list, which is deleted when it is done. */
  readonly path: string;
  readonly ranges: readonly SpanRange[];
}

/** Whoever pushes an index can name all of a layer. */
const MAX_BYTES = 256 * 2 ** 20;

/** A program that starts thinks about as long between two reads. */
const QUIET_MS = 5;

/**
 * Fetches what of a list's spans is absent, one request at a time, each begun while no read waits; then forgets the list, also one that names more
 * than the limit. A request under way is not given up when a read comes, which may join it.
 * @throws AppError `resource_exhausted` if there is no room; what fetching throws; the signal's reason.
 */
export async function prefetchSpans(
  layer: Pick<HydratedLayer, "fetchAbsent">,
  { slot, path, ranges }: PrefetchWork,
  options: PrefetchSpansOptions,
): Promise<void> {
  const { maxBytes = MAX_BYTES, logger } = options;
  let fetchedBytes = 0;
  for await (const bytes of fetchEach(layer, ranges, options)) {
    fetchedBytes += bytes;
    if (fetchedBytes >= maxBytes) break;
  }
  await removePrefetchFile(path);
  if (fetchedBytes >= maxBytes) logger.warn("prefetch list names too much", { slot, fetchedBytes });
  else logger.info("layer prefetched", { slot, fetchedBytes });
}

async function* fetchEach(
  layer: Pick<HydratedLayer, "fetchAbsent">,
  ranges: readonly SpanRange[],
  options: PrefetchSpansOptions,
): AsyncGenerator<number> {
  for (const range of ranges) {
    for (;;) {
      const bytes = await fetchOne(layer, range, options);
      if (bytes === undefined) break;
      options.metrics.count("soci_layer_prefetched_bytes_total", bytes);
      yield bytes;
    }
  }
}

async function fetchOne(
  layer: Pick<HydratedLayer, "fetchAbsent">,
  range: SpanRange,
  { demand, signal, mayFetch = () => true }: PrefetchSpansOptions,
): Promise<number | undefined> {
  while (demand.quietMs < QUIET_MS) await delay(QUIET_MS, signal);
  signal.throwIfAborted();
  if (!mayFetch()) throw new AppError("resource_exhausted", "Cannot prefetch: there is no room");
  return await abortable(layer.fetchAbsent(range), signal);
}
