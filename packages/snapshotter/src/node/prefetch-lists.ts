import { readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { AppError, delay, type Logger, Semaphore } from "@soci-ts/core";
import type { SpanRange } from "@soci-ts/layer-index";
import type { Descriptor } from "@soci-ts/oci";
import {
  encodePrefetchList,
  fetchPrefetchList,
  type PrefetchListEntry,
  parsePrefetchList,
} from "@soci-ts/soci";
import { replaceFile } from "../mount-directories.ts";
import type { ImageIndex, LookUpOptions } from "./image-index.ts";

/*
 * A layer's prefetch list on its way: the image worker fetches it beside the ztoc and leaves it in the layer's directory; the layer server
 * reads it when it opens the layer, and deletes it when it has done what it says. Nothing depends on it, so nothing waits for it.
 */

/** For so long layers that are ready otherwise wait for lists: all layers of an image together. */
const PATIENCE_MS = 500;
/** Ztocs are fetched at the same time, and are what is waited for. */
const LISTS_AT_ONCE = 4;

const PREFETCH_FILE = "prefetch";

/** The prefetch lists of an image's layers on their way. What is wrong with one is logged, and costs nothing else. */
export class PrefetchLists {
  readonly #lists: readonly Promise<readonly SpanRange[] | undefined>[];
  readonly #logger: Logger;
  #patience: Promise<undefined> | undefined;

  /** Begins to fetch them. */
  constructor(layers: readonly Descriptor[], { found }: ImageIndex, options: LookUpOptions) {
    this.#logger = options.logger;
    const entries = found?.index.prefetchLists ?? [];
    const permits = new Semaphore(LISTS_AT_ONCE);
    this.#lists = layers.map(async ({ digest }) => {
      const entry = entries.find(({ layerDigest }) => layerDigest === digest);
      return entry && permits.run(() => fetchOne(entry, options));
    });
  }

  /**
   * Leaves a layer's list in its directory, without spans that the layer does not have. Never rejects.
   * @param position - of the layer in the image.
   * @param spanCount - of the layer.
   */
  async write(position: number, directory: string, spanCount: number): Promise<void> {
    this.#patience ??= delay(PATIENCE_MS).then(() => undefined);
    const ranges = (await Promise.race([this.#lists[position], this.#patience])) ?? [];
    const last = spanCount - 1;
    const there = ranges
      .filter(({ startSpan }) => startSpan <= last)
      .map(({ startSpan, endSpan }) => ({ startSpan, endSpan: Math.min(endSpan, last) }));
    if (there.length === 0) return;
    const path = join(directory, PREFETCH_FILE);
    try {
      await replaceFile(path, encodePrefetchList(there), { flush: false });
    } catch (error) {
      this.#logger.warn("prefetch list not written", { error: AppError.from(error).message });
    }
  }
}

async function fetchOne(
  entry: PrefetchListEntry,
  { client, reference, store, lookupTimeoutMs, logger, ...options }: LookUpOptions,
): Promise<readonly SpanRange[] | undefined> {
  const { registry, repository } = reference;
  const signal = AbortSignal.any([options.signal, AbortSignal.timeout(lookupTimeoutMs)]);
  try {
    const where = { client, repository: { registry, repository }, store };
    return await fetchPrefetchList({ ...where, entry, signal });
  } catch (error) {
    const reason = AppError.from(error).message;
    logger.warn("prefetch list passed over", { layer: entry.layerDigest, error: reason });
    return undefined;
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
