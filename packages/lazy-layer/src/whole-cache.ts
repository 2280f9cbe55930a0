import { join } from "node:path";
import type { Digest } from "@soci-ts/core";
import type { HeaderTable, LayerIndex } from "@soci-ts/layer-index";
import { PRESENCE_FILE } from "./cache-files.ts";
import { ChunkMap } from "./chunk-map.ts";
import { cacheIdentity } from "./identity.ts";
import { layerDirectory, WHOLE_FOLDER } from "./open-lazy-layer.ts";
import { Presence } from "./presence.ts";
import { readWholeIndex } from "./whole-index.ts";
import { INDEX_FILE } from "./whole-layer.ts";

/** Which cache {@link findWholeCache} looks for. */
export interface WholeCacheOptions {
  /** Holds one folder for each layer. */
  readonly directory: string;
  readonly layerDigest: Digest;
  /** What the layer is read by; `undefined` for one that was streamed. */
  readonly by:
    | { readonly index: LayerIndex; readonly headers: HeaderTable | undefined }
    | undefined;
}

/**
 * The cache directory of a layer all of whose chunks are present at this moment; `undefined` if some are absent. For who is about to have its data file
 * read without this package: whether the bytes are right is for `readWholeVerdict` to say.
 * @throws AppError `failed_precondition` if a newer version wrote the cache; the system's errors.
 */
export async function findWholeCache(options: WholeCacheOptions): Promise<string | undefined> {
  const { layerDigest, by } = options;
  const folder = layerDirectory(options.directory, layerDigest);
  const whole = join(folder, WHOLE_FOLDER);
  const index = by?.index ?? (await readWholeIndex(join(whole, INDEX_FILE)))?.index;
  if (index === undefined) return undefined;
  const identity = cacheIdentity(layerDigest, index, by?.headers);
  const own = join(folder, Buffer.from(identity).toString("hex", 0, 16));
  const directory = by === undefined ? whole : own;
  const map = new ChunkMap(index.spans);
  const isWhole = await isPresent(directory, { layerDigest, identity, map });
  return isWhole ? directory : undefined;
}

async function isPresent(
  directory: string,
  header: Parameters<typeof Presence.open>[1],
): Promise<boolean> {
  const presence = await Presence.open(join(directory, PRESENCE_FILE), header);
  if (presence === undefined) return false;
  try {
    for (let chunk = 0; chunk < header.map.count; chunk += 1) {
      if (!presence.has(chunk)) return false;
    }
    return true;
  } finally {
    await presence.close();
  }
}
