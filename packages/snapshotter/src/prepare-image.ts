import { setMaxListeners } from "node:events";
import { join } from "node:path";
import { AppError, type Digest, type Logger, Semaphore } from "@soci-ts/core";
import type { Store } from "@soci-ts/store";
import { ChainImages } from "./metadata-images.ts";
import type { SlotRecord } from "./mount-record.ts";
import type { BlobOpener } from "./open-slot.ts";
import { writePrefetchFile } from "./prefetch-file.ts";
import {
  type ImageLayer,
  imageInput,
  type ReadyLayer,
  readyLayer,
  writeSlotData,
} from "./ready-layer.ts";

/** What preparing needs. */
export interface PrepareImageOptions {
  readonly store: Pick<Store, "directory">;
  /** The mount's directory; the layers' indexes are written into it. */
  readonly directory: string;
  /** Bottom first. */
  readonly layers: readonly ImageLayer[];
  readonly blobs: BlobOpener;
  readonly logger: Logger;
  readonly signal?: AbortSignal | undefined;
}

/** An image ready to be mounted. */
export interface PreparedImage {
  /** The distinct layers, in the order in which the chain first has them. */
  readonly slots: readonly SlotRecord[];
  /** Slots, top first. A layer that stands in the chain twice counts where it stands highest: overlayfs takes it once only. */
  readonly stack: readonly number[];
}

/**
 * Reads the layers that have no index, makes the metadata images, and writes each layer's index into the mount's directory.
 * @throws AppError whatever reading a layer throws; FormatError if a layer's files can't be made into a tree.
 */
export async function prepareImage(options: PrepareImageOptions): Promise<PreparedImage> {
  const { layers } = options;
  const digests = layers.map(({ descriptor }) => descriptor.digest);
  const distinct = [...new Set(digests)];
  if (distinct.length > MAX_LAYERS) throw tooManyLayers(distinct.length);
  const ready = await readLayers(options, distinct);
  const chain = digests.map((digest) => layerIn(ready, digest));
  const images = new ChainImages(
    await options.store.directory("images"),
    chain.map(imageInput),
    options,
  );
  const slots: SlotRecord[] = [];
  for (const [slot, layerDigest] of distinct.entries()) {
    options.signal?.throwIfAborted();
    const { path, devices } = await images.image(digests.lastIndexOf(layerDigest));
    const deviceSlots = devices.map((device) => distinct.indexOf(digests[device] as Digest));
    const layer = layerIn(ready, layerDigest);
    const data = await writeSlotData(options.directory, `-${slot}`, layer);
    await writePrefetch(options.directory, slot, layer);
    slots.push({ layerDigest, data, imagePath: path, deviceSlots });
  }
  const byHeight = distinct.map((digest, slot) => ({ slot, top: digests.lastIndexOf(digest) }));
  const stack = byHeight.sort((a, b) => b.top - a.top).map(({ slot }) => slot);
  return { slots, stack };
}

/**
 * overlayfs's options have to fit one page: 4095 bytes ÷ 28 for `/run/soci-ts/01234567/f/t139:` are 146, less the other options. (Docker
 * makes images of at most 127 layers.)
 */
const MAX_LAYERS = 140;
/** Layers that are read whole at a time. */
const WHOLE_AT_ONCE = 8;

/** Layers without an index are read several at a time. */
async function readLayers(
  options: PrepareImageOptions,
  distinct: readonly Digest[],
): Promise<ReadonlyMap<Digest, ReadyLayer>> {
  const byDigest = new Map(options.layers.map((layer) => [layer.descriptor.digest, layer]));
  const layersDirectory = await options.store.directory("layers");
  // One failure stops the others.
  const abort = new AbortController();
  const signal =
    options.signal === undefined ? abort.signal : AbortSignal.any([options.signal, abort.signal]);
  setMaxListeners(0, signal); // every layer listens
  const permits = new Semaphore(WHOLE_AT_ONCE);
  const read = async (digest: Digest): Promise<readonly [Digest, ReadyLayer]> => {
    try {
      const layer = byDigest.get(digest) as ImageLayer;
      const context = { ...options, signal, layersDirectory };
      return [digest, await permits.run(() => readyLayer(layer, context), signal)];
    } catch (error) {
      abort.abort(error);
      throw error;
    }
  };
  const settled = await Promise.allSettled(distinct.map(read));
  const failed = settled.find((result) => result.status === "rejected");
  if (failed !== undefined) throw abort.signal.reason ?? failed.reason;
  return new Map(
    settled.flatMap((result) => (result.status === "fulfilled" ? [result.value] : [])),
  );
}

/** Where a mount's directory has the prefetch list of a slot. */
export function slotPrefetchPath(directory: string, slot: number): string {
  return join(directory, `prefetch-${slot}`);
}

async function writePrefetch(
  directory: string,
  slot: number,
  { layer: { prefetch }, lazy, index }: ReadyLayer,
): Promise<void> {
  if (prefetch === undefined || lazy === undefined) return;
  const spanCount = index.spans.length;
  await writePrefetchFile(slotPrefetchPath(directory, slot), prefetch, { spanCount });
}

function layerIn(ready: ReadonlyMap<Digest, ReadyLayer>, digest: Digest): ReadyLayer {
  const layer = ready.get(digest);
  if (layer === undefined) throw new AppError("internal", `Cannot find layer ${digest}`);
  return layer;
}

function tooManyLayers(count: number): AppError {
  return new AppError(
    "resource_exhausted",
    `Cannot mount an image of ${count} layers: want at most ${MAX_LAYERS}`,
  );
}
