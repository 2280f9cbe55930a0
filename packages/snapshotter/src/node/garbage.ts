import { readdir, rm, stat } from "node:fs/promises";
import { basename, join } from "node:path";
import { AppError } from "@soci-ts/core";
import type { Evicted } from "./cache-eviction.ts";
import { allocatedBelow } from "./evictable-layers.ts";
import type { NodePaths } from "./node-paths.ts";
import { readNodeSlot, slotDirectory } from "./slot-files.ts";

/** How many, and how many bytes of disk. */
export interface Freed {
  readonly count: number;
  readonly sizeBytes: number;
}

/** What a collection of garbage has done. */
export interface GarbageReport {
  /** Layers that no snapshot needs. */
  readonly layers: Freed;
  /** Caches and metadata images of no layer. */
  readonly orphans: Freed;
  /** Files that a killed process had not finished. */
  readonly temporaries: Freed;
  /** Records of what a layer was once made for. */
  readonly records: number;
  /** Bytes that can be fetched again; absent if the layer server does not answer. */
  readonly evicted?: Evicted | undefined;
  /** What was left undone, and why. */
  readonly notes: readonly string[];
}

/** Whoever writes a file under another name first takes moments. */
const TEMPORARY_AGE_MS = 600_000;

/** A file that is not finished: of a layer cache, or of a record. */
const TEMPORARY_NAME = /\.[0-9a-f]+\.(?:tmp|new)$/;

/** Deletes files that were begun long ago and never got their name. */
export async function removeTemporaries(paths: NodePaths): Promise<Freed> {
  let freed: Freed = { count: 0, sizeBytes: 0 };
  const visit = async (directory: string): Promise<void> => {
    for (const entry of await entriesOf(directory)) {
      const path = join(directory, entry.name);
      if (entry.isDirectory()) await visit(path);
      else if (TEMPORARY_NAME.test(entry.name)) freed = plus(freed, await removeOldFile(path));
    }
  };
  for (const directory of [paths.store, paths.slots]) await visit(directory);
  return freed;
}

async function removeOldFile(path: string): Promise<Freed> {
  const found = await stat(path).catch(() => undefined); // it got its name
  if (found === undefined || Date.now() - found.mtimeMs < TEMPORARY_AGE_MS) return NOTHING;
  await rm(path, { force: true });
  return { count: 1, sizeBytes: found.blocks * 512 };
}

/**
 * Deletes caches of blobs that no layer has, which a stream that failed leaves, and metadata images that no layer names. No image may be
 * made ready meanwhile: its layers are not in the table yet.
 * @param hasLayers - true for a blob's digest, as its cache folder is called, if there are layers of it.
 */
export async function removeOrphans(
  paths: NodePaths,
  hasLayers: (folder: string) => boolean,
): Promise<Freed> {
  let freed: Freed = { count: 0, sizeBytes: 0 };
  for (const { name } of await entriesOf(paths.layers)) {
    if (hasLayers(name)) continue;
    freed = plus(freed, await removeTree(join(paths.layers, name)));
  }
  const named = await namedImages(paths);
  if (named === undefined) return freed;
  for (const folder of await entriesOf(join(paths.store, "images"))) {
    if (!folder.isDirectory()) continue;
    const directory = join(paths.store, "images", folder.name);
    for (const { name } of await entriesOf(directory)) {
      if (named.has(name) || TEMPORARY_NAME.test(name)) continue;
      freed = plus(freed, await removeTree(join(directory, name)));
    }
  }
  return freed;
}

async function removeTree(path: string): Promise<Freed> {
  const found = await stat(path);
  const sizeBytes = found.isDirectory() ? await allocatedBelow(path) : found.blocks * 512;
  await rm(path, { recursive: true, force: true });
  return { count: 1, sizeBytes };
}

/** Metadata images that layers name; `undefined` if a layer's record can't be read: then nothing is known of its. */
async function namedImages({ slots }: NodePaths): Promise<ReadonlySet<string> | undefined> {
  const names = new Set<string>();
  for (const { name } of await entriesOf(slots)) {
    try {
      const { record } = await readNodeSlot(slotDirectory(slots, Number(name)));
      names.add(basename(record.imagePath));
    } catch {
      return undefined; // see above
    }
  }
  return names;
}

const NOTHING: Freed = { count: 0, sizeBytes: 0 };

function plus(a: Freed, b: Freed): Freed {
  return { count: a.count + b.count, sizeBytes: a.sizeBytes + b.sizeBytes };
}

async function entriesOf(directory: string) {
  try {
    return await readdir(directory, { withFileTypes: true });
  } catch (error) {
    const { code } = AppError.from(error);
    if (code === "not_found" || code === "failed_precondition") return []; // gone, or no directory
    throw error;
  }
}
