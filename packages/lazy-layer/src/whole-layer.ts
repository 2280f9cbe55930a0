import { join } from "node:path";
import { AppError, type Digest } from "@soci-ts/core";
import type { LayerIndex } from "@soci-ts/layer-index";
import { createTarScan, type TarEntry } from "@soci-ts/tar";
import { ChunkMap } from "./chunk-map.ts";
import { cacheIdentity } from "./identity.ts";
import { type CacheReporting, LayerCache } from "./layer-cache.ts";
import { readWholeIndex, type WholeIndex } from "./whole-index.ts";

/** Name of the index file in a streamed layer's folder. */
export const INDEX_FILE = "index";

const WINDOW_BYTES = 2 ** 20;

/**
 * What a streamed layer is read by, also if some of its bytes are gone: these can be fetched again. Its file table may be empty. Undefined if
 * there is no index.
 * @throws AppError `failed_precondition` if a newer version wrote it.
 */
export async function findWholeIndex(
  folder: string,
  { logger }: CacheReporting,
): Promise<WholeIndex | undefined> {
  const path = join(folder, INDEX_FILE);
  try {
    return await readWholeIndex(path);
  } catch (error) {
    if (AppError.from(error).code === "failed_precondition") throw error;
    logger.warn("index of a streamed layer is damaged", { path });
    return undefined;
  }
}

/**
 * The layer in `folder`, if all of it is there, or what is not (it was evicted, or has gone bad) can be fetched by its index; undefined if it
 * is to be streamed.
 * @param compression - the blob's: an index of the same lets it be read at an offset.
 * @throws AppError `failed_precondition` if a newer version wrote it.
 */
export async function findWholeLayer(
  folder: string,
  { layerDigest, compression }: { readonly layerDigest: Digest; readonly compression: string },
  reporting: CacheReporting,
): Promise<Omit<WholeIndex, "hasEntries"> | undefined> {
  const found = await findWholeIndex(folder, reporting);
  if (found === undefined) return undefined;
  const { diffId, index } = found;
  const map = new ChunkMap(index.spans);
  const identity = cacheIdentity(layerDigest, index);
  const cache = await LayerCache.open(folder, { layerDigest, identity, map }, reporting);
  try {
    const isUsable = cache.isComplete || (found.hasEntries && index.compression === compression);
    if (!isUsable) return undefined;
    if (found.hasEntries) return { diffId, index };
    const entries = await scanEntries(cache, map.sizeBytes);
    return entries && { diffId, index: { ...index, entries } };
  } finally {
    await cache.close();
  }
}

/** Reads the file table from the tar; undefined if some of the tar is damaged. */
async function scanEntries(
  cache: LayerCache,
  sizeBytes: number,
): Promise<LayerIndex["entries"] | undefined> {
  const entries: TarEntry[] = [];
  const scan = createTarScan({ onEntry: (entry) => entries.push(entry) });
  for (let start = 0; start < sizeBytes; start += WINDOW_BYTES) {
    const bytes = await cache.read(start, Math.min(start + WINDOW_BYTES, sizeBytes));
    if (bytes === undefined) return undefined;
    scan.push(bytes);
  }
  scan.finish();
  return entries;
}
