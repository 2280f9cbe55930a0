import { setMaxListeners } from "node:events";
import { join } from "node:path";
import { AppError, type Digest, type Logger, Semaphore, sha256 } from "@soci-ts/core";
import { encodeZtoc, HeaderTable, type LayerIndex } from "@soci-ts/layer-index";
import { openLazyLayer } from "@soci-ts/lazy-layer";
import type { Descriptor } from "@soci-ts/oci";
import type { Store } from "@soci-ts/store";
import { ChainImages } from "./metadata-images.ts";
import { replaceFile } from "./mount-directories.ts";
import type { SlotData, SlotRecord } from "./mount-record.ts";
import { type BlobOpener, streamedLayer } from "./open-slot.ts";

/** A layer to mount. */
export interface ImageLayer {
  /** The layer's blob, from the manifest. */
  readonly descriptor: Descriptor;
  /** Digest of the uncompressed layer, from the image config. */
  readonly diffId: Digest;
  /** The layer's index and the digest of the ztoc that it was in, verified; absent: the layer is read whole. */
  readonly indexed?: { readonly index: LayerIndex; readonly ztocDigest: Digest } | undefined;
}

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

interface ReadyLayer {
  readonly layer: ImageLayer;
  readonly index: LayerIndex;
  /** Of a layer that is read by its index. */
  readonly lazy: { readonly ztocDigest: Digest; readonly headers: HeaderTable } | undefined;
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
  const chain = digests.map((digest) => readyLayer(ready, digest));
  const images = new ChainImages(
    await options.store.directory("images"),
    chain.map(({ index, lazy }, at) => ({
      layerDigest: digests[at] as Digest,
      ztocDigest: lazy?.ztocDigest,
      uncompressedSizeBytes: index.uncompressedSizeBytes,
      entries: index.entries,
    })),
    options.logger,
  );
  const slots: SlotRecord[] = [];
  for (const [slot, layerDigest] of distinct.entries()) {
    options.signal?.throwIfAborted();
    const { path, devices } = await images.image(digests.lastIndexOf(layerDigest));
    const deviceSlots = devices.map((device) => distinct.indexOf(digests[device] as Digest));
    const data = await slotData(options.directory, slot, readyLayer(ready, layerDigest));
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
      return [digest, await permits.run(() => readLayer(layer, context), signal)];
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

async function readLayer(
  layer: ImageLayer,
  options: PrepareImageOptions & { readonly layersDirectory: string },
): Promise<ReadyLayer> {
  const { descriptor, diffId, indexed } = layer;
  const { blobs, layersDirectory: directory, logger, signal } = options;
  let why: string | undefined = "it has no index";
  if (indexed !== undefined) {
    const { index, ztocDigest } = indexed;
    const headers = HeaderTable.of(index.entries);
    why = await lazyObstacle(descriptor, { index, headers }, options);
    if (why === undefined) return { layer, index, lazy: { ztocDigest, headers } };
  }
  logger.info("layer read whole", { layer: descriptor.digest, why });
  const { index } = await streamedLayer({ directory, descriptor, diffId, blobs, logger, signal });
  return { layer, index, lazy: undefined };
}

/** Why a layer can't be read by its index; `undefined` if it can. The cache is opened and closed: nothing is fetched. */
async function lazyObstacle(
  descriptor: Descriptor,
  by: { readonly index: LayerIndex; readonly headers: HeaderTable },
  options: PrepareImageOptions & { readonly layersDirectory: string },
): Promise<string | undefined> {
  const { blobs, layersDirectory: directory, logger } = options;
  const blob = blobs.openBlob(descriptor);
  const { digest: layerDigest } = descriptor;
  try {
    await using _layer = await openLazyLayer({ directory, layerDigest, ...by, blob, logger });
    return undefined;
  } catch (error) {
    const { code, message } = AppError.from(error);
    if (code !== "data_loss" && code !== "resource_exhausted") throw error;
    logger.warn("layer can't be read by its index", { layer: layerDigest, error: message });
    return message;
  }
}

async function slotData(
  directory: string,
  slot: number,
  { layer, index, lazy }: ReadyLayer,
): Promise<SlotData> {
  const { mediaType, size: sizeBytes } = layer.descriptor;
  if (lazy === undefined) {
    return { kind: "streamed", mediaType, sizeBytes, diffId: layer.diffId };
  }
  const write = async (name: string, bytes: Uint8Array): Promise<[string, Digest]> => {
    await replaceFile(join(directory, name), bytes, { flush: false });
    return [name, sha256(bytes)];
  };
  const stripped = encodeZtoc({ ...index, entries: [] });
  const [indexPath, indexDigest] = await write(`index-${slot}`, stripped);
  const [headersPath, headersDigest] = await write(`headers-${slot}`, lazy.headers.encode());
  return { kind: "lazy", mediaType, sizeBytes, indexPath, indexDigest, headersPath, headersDigest };
}

function readyLayer(ready: ReadonlyMap<Digest, ReadyLayer>, digest: Digest): ReadyLayer {
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
