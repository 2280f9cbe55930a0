import { readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { AppError, delay, type Logger } from "@soci-ts/core";
import type { SpanRange } from "@soci-ts/layer-index";
import type { Descriptor } from "@soci-ts/oci";
import { encodePrefetchList, fetchPrefetchList, parsePrefetchList } from "@soci-ts/soci";
import { replaceFile } from "../mount-directories.ts";
import type { ImageIndex, LookUpOptions } from "./image-index.ts";

/*
 * A layer's prefetch list on its way: the image worker fetches it beside the ztoc and leaves it in the layer's directory; the layer server
 * reads it when it opens the layer, and deletes it when it has done what it says. Nothing depends on it, so nothing waits for it.
 */

/** For so long a layer that is ready otherwise waits for its list. */
const PATIENCE_MS = 500;

const PREFETCH_FILE = "prefetch";

/** A layer's list; `undefined` if it has none, or none that can be used. Never rejects. */
export type ListOnItsWay = Promise<readonly SpanRange[] | undefined>;

/** Begins to fetch the prefetch lists of an image's layers. What is wrong with one is logged, and costs nothing else. */
export function startPrefetchLists(
  layers: readonly Descriptor[],
  { found }: ImageIndex,
  options: LookUpOptions,
): readonly ListOnItsWay[] {
  const lists = found?.index.prefetchLists ?? [];
  return layers.map(async ({ digest }) => {
    const entry = lists.find(({ layerDigest }) => layerDigest === digest);
    if (entry === undefined) return undefined;
    const { client, reference, lookupTimeoutMs, logger } = options;
    const { registry, repository } = reference;
    const signal = AbortSignal.any([options.signal, AbortSignal.timeout(lookupTimeoutMs)]);
    try {
      return await fetchPrefetchList(client, { registry, repository }, entry, { signal });
    } catch (error) {
      const reason = AppError.from(error).message;
      logger.warn("prefetch list passed over", { layer: digest, error: reason });
      return undefined;
    }
  });
}

/**
 * Leaves a layer's list in its directory, without spans that the layer does not have. Never rejects.
 * @param spanCount - of the layer.
 */
export async function writePrefetchList(
  directory: string,
  list: ListOnItsWay,
  { spanCount, logger }: { readonly spanCount: number; readonly logger: Logger },
): Promise<void> {
  const ranges = (await Promise.race([list, delay(PATIENCE_MS)])) ?? [];
  const last = spanCount - 1;
  const there = ranges
    .filter(({ startSpan }) => startSpan <= last)
    .map(({ startSpan, endSpan }) => ({ startSpan, endSpan: Math.min(endSpan, last) }));
  if (there.length === 0) return;
  try {
    await replaceFile(join(directory, PREFETCH_FILE), encodePrefetchList(there), { flush: false });
  } catch (error) {
    logger.warn("prefetch list not written", { error: AppError.from(error).message });
  }
}

/** What is still to be prefetched of a layer; `undefined`: nothing. @throws FormatError if the file is damaged. */
export async function readPrefetchList(
  directory: string,
): Promise<readonly SpanRange[] | undefined> {
  let bytes: Uint8Array;
  try {
    bytes = await readFile(join(directory, PREFETCH_FILE));
  } catch (error) {
    if (AppError.from(error).code === "not_found") return undefined;
    throw error;
  }
  return parsePrefetchList(bytes);
}

/** A layer's list is done with. */
export async function removePrefetchList(directory: string): Promise<void> {
  await rm(join(directory, PREFETCH_FILE), { force: true });
}
