import { readdir, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import type { Digest } from "@soci-ts/core";
import { DATA_FILE, PRESENCE_FILE } from "./cache-files.ts";
import { layerDirectory, WHOLE_FOLDER } from "./open-lazy-layer.ts";
import { INDEX_FILE } from "./whole-layer.ts";

/**
 * Deletes the cached bytes of a layer, as each of its indexes shows it: for layers that no process has open. Indexes of streamed layers stay; so do
 * data files with a second name, which the kernel may be reading, and those of a layer that is being streamed.
 * @param directory - as for `openLazyLayer`.
 * @returns bytes of disk that this freed.
 */
export async function removeCachedBytes(directory: string, layerDigest: Digest): Promise<number> {
  const layer = layerDirectory(directory, layerDigest);
  let freedBytes = 0;
  for (const name of await namesIn(layer)) {
    const folder = join(layer, name);
    if (name === WHOLE_FOLDER && (await statOf(join(folder, INDEX_FILE))) === undefined) continue;
    freedBytes += await removeFolder(folder);
  }
  return freedBytes;
}

async function removeFolder(folder: string): Promise<number> {
  const [data, presence] = [join(folder, DATA_FILE), join(folder, PRESENCE_FILE)];
  if (((await statOf(data))?.nlink ?? 0) > 1) return 0;
  // In this order, so that a name which the data file is given meanwhile finds nothing marked.
  await rm(presence, { force: true });
  const found = await statOf(data);
  if (found === undefined || found.nlink > 1) return 0;
  await rm(data, { force: true });
  return found.blocks * 512;
}

async function statOf(path: string) {
  return await stat(path).catch(() => undefined); // it is not there
}

async function namesIn(directory: string): Promise<readonly string[]> {
  return await readdir(directory).catch(() => []); // nothing was cached, or not any more
}
