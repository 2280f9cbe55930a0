import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { digestAlgorithm, digestHex } from "@soci-ts/core";
import type { NodePaths } from "./node-paths.ts";
import { readNodeSlot, slotDirectory } from "./slot-files.ts";

/** All files that a layer takes on this node: a dozen at most. A layer that is not there has none. */
export async function layerFiles(paths: NodePaths, layer: number): Promise<readonly string[]> {
  const directory = slotDirectory(paths.slots, layer);
  try {
    const { record } = await readNodeSlot(directory);
    const { layerDigest } = record;
    const name = `${digestAlgorithm(layerDigest)}-${digestHex(layerDigest)}`;
    const cache = join(paths.store, "layers", name);
    const files = [...(await filesIn(directory)), record.imagePath];
    for (const folder of await readdir(cache)) files.push(...(await filesIn(join(cache, folder))));
    return files;
  } catch {
    return []; // removed meanwhile, or nothing of it is cached yet
  }
}

async function filesIn(directory: string): Promise<readonly string[]> {
  return (await readdir(directory)).map((name) => join(directory, name));
}
