import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { AppError, type Digest, digestAlgorithm, digestHex } from "@soci-ts/core";
import type { NodePaths } from "./node-paths.ts";
import { readNodeSlot, slotDirectory } from "./slot-files.ts";

/** Where the bytes of a blob's layers are cached: a directory for each index that they are read by. */
export function cacheDirectory(paths: NodePaths, digest: Digest): string {
  return join(paths.layers, `${digestAlgorithm(digest)}-${digestHex(digest)}`);
}

/** All files that a layer takes on this node: a dozen at most. A layer that is not there has none. */
export async function layerFiles(paths: NodePaths, layer: number): Promise<readonly string[]> {
  const directory = slotDirectory(paths.slots, layer);
  const own = await filesIn(directory);
  const slot = await readNodeSlot(directory).catch(() => undefined); // absent, or damaged: what is there counts
  if (slot === undefined) return own;
  const { record } = slot;
  const files = [...own, record.imagePath];
  for (const folder of await filesIn(cacheDirectory(paths, record.layerDigest))) {
    files.push(...(await filesIn(folder)));
  }
  return files;
}

/** Of a directory that is not there, or not any more: nothing. */
async function filesIn(directory: string): Promise<readonly string[]> {
  try {
    return (await readdir(directory)).map((name) => join(directory, name));
  } catch (error) {
    if (AppError.from(error).code === "not_found") return [];
    throw error;
  }
}
