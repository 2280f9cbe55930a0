import { AppError, abortable, delay, type Metrics } from "@soci-ts/core";
import type { SpanRange } from "@soci-ts/layer-index";
import type { HydratedLayer } from "@soci-ts/lazy-layer";

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
  /** Compressed bytes of one layer that a list can have fetched; default 256 MiB. */
  readonly maxBytes?: number | undefined;
}

/** What came of a list. */
export interface PrefetchedSpans {
  /** Compressed bytes. */
  readonly fetchedBytes: number;
  /** True if it names more than the limit. */
  readonly isCut: boolean;
}

/** Whoever pushes an index can name all of a layer. */
const MAX_BYTES = 256 * 2 ** 20;

/** A program that starts thinks about as long between two reads. */
const QUIET_MS = 5;

/**
 * Fetches what of some spans is absent, one request at a time, each begun while no read waits. A request under way is not given up when a
 * read comes, which may join it.
 * @throws AppError `resource_exhausted` if there is no room; what fetching throws; the signal's reason.
 */
export async function prefetchSpans(
  layer: Pick<HydratedLayer, "fetchAbsent">,
  ranges: readonly SpanRange[],
  options: PrefetchSpansOptions,
): Promise<PrefetchedSpans> {
  const { maxBytes = MAX_BYTES, metrics } = options;
  let fetchedBytes = 0;
  for (const range of ranges) {
    for (;;) {
      const bytes = await fetchOne(layer, range, options);
      if (bytes === undefined) break;
      metrics.count("soci_layer_prefetched_bytes_total", bytes);
      fetchedBytes += bytes;
      if (fetchedBytes >= maxBytes) return { fetchedBytes, isCut: true };
    }
  }
  return { fetchedBytes, isCut: false };
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
