import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import type { Digest } from "@soci-ts/core";
import { findWholeCache, readWholeVerdict } from "@soci-ts/lazy-layer";
import { readSealedImage } from "../metadata-images.ts";
import type { SlotRecord } from "../mount-record.ts";
import { readSlotIndex } from "../open-slot.ts";
import { cacheDirectory } from "./layer-files.ts";
import type { NodePaths } from "./node-paths.ts";
import { readNodeSlot, slotDirectory } from "./slot-files.ts";

/** Files that a layer can be mounted from with nobody serving them. */
export interface LocalLayer {
  readonly layerDigest: string;
  /** The metadata image. */
  readonly imagePath: string;
  /** The data file of each of its devices, in its order. */
  readonly devices: readonly { readonly layer: number; readonly path: string }[];
}

/**
 * The files of a layer if all its bytes, and all those of lower layers that it shows, are on the disk, and their digests were found to be what the image's
 * config says; `undefined` otherwise.
 * @throws AppError `not_found` if there is no such layer; whatever is wrong with its files.
 */
export async function localLayer(paths: NodePaths, layer: number): Promise<LocalLayer | undefined> {
  const { record } = await readNodeSlot(slotDirectory(paths.slots, layer));
  const devices: { layer: number; path: string }[] = [];
  for (const device of record.deviceSlots) {
    const path = await localData(paths, device);
    if (path === undefined) return undefined;
    devices.push({ layer: device, path });
  }
  return { layerDigest: record.layerDigest, imagePath: record.imagePath, devices };
}

/** Sees whether a metadata image is as it was written. @throws FormatError if it is not. */
export async function checkImage({ imagePath }: LocalLayer): Promise<void> {
  readSealedImage(await readFile(imagePath));
}

/** The data file of a layer, if it is whole and right. */
async function localData(paths: NodePaths, layer: number): Promise<string | undefined> {
  const directory = slotDirectory(paths.slots, layer);
  const { record } = await readNodeSlot(directory);
  const { data, layerDigest } = record;
  if (data.kind === "file" || data.diffId === undefined) return undefined;
  if (!(await isAnyRight(paths, record, data.diffId))) return undefined;
  const by =
    data.kind === "lazy" ? await readSlotIndex(data, layerDigest, { directory }) : undefined;
  const cache = await findWholeCache({ directory: paths.layers, layerDigest, by });
  if (cache === undefined) return undefined;
  const { verdict, dataPath } = await readWholeVerdict(cache, data.diffId);
  return verdict === "right" ? dataPath : undefined;
}

/** Whether it is worth looking closer: true for the fewest layers, and cheap. */
async function isAnyRight(
  paths: NodePaths,
  { layerDigest }: SlotRecord,
  diffId: Digest,
): Promise<boolean> {
  const directory = cacheDirectory(paths, layerDigest);
  for (const folder of await readdir(directory)) {
    const judged = await readWholeVerdict(join(directory, folder), diffId);
    if (judged.verdict === "right") return true;
  }
  return false;
}
