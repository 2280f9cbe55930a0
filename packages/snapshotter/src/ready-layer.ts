import { join } from "node:path";
import { AppError, type Digest, type Logger, sha256 } from "@soci-ts/core";
import { encodeZtoc, HeaderTable, type LayerIndex, type SpanRange } from "@soci-ts/layer-index";
import { openLazyLayer } from "@soci-ts/lazy-layer";
import type { Descriptor } from "@soci-ts/oci";
import type { ImageInput } from "./metadata-images.ts";
import { replaceFile } from "./mount-directories.ts";
import type { SlotData } from "./mount-record.ts";
import { type BlobOpener, streamedLayer } from "./open-slot.ts";

/** A layer to mount. */
export interface ImageLayer {
  /** The layer's blob, from the manifest. */
  readonly descriptor: Descriptor;
  /** Digest of the uncompressed layer, from the image config. */
  readonly diffId: Digest;
  /** The layer's index and the digest of the ztoc that it was in, verified; absent: the layer is read whole. */
  readonly indexed?: { readonly index: LayerIndex; readonly ztocDigest: Digest } | undefined;
  /** Spans of a layer with an index that are fetched as soon as it is mounted. */
  readonly prefetch?: readonly SpanRange[] | undefined;
}

/** What making a layer ready needs. */
export interface ReadyLayerContext {
  /** The store's directory of layer caches. */
  readonly layersDirectory: string;
  readonly blobs: BlobOpener;
  readonly logger: Logger;
  readonly signal?: AbortSignal | undefined;
}

/** A layer whose files are known and whose bytes can be had. */
export interface ReadyLayer {
  readonly layer: ImageLayer;
  readonly index: LayerIndex;
  /** Of a layer that is read by its index. */
  readonly lazy: { readonly ztocDigest: Digest; readonly headers: HeaderTable } | undefined;
  /** Why it was read whole, if it was. */
  readonly why: string | undefined;
}

/**
 * Makes a layer ready: by its index where it has a sound one, else by reading it whole.
 * @throws AppError whatever reading the layer throws.
 */
export async function readyLayer(
  layer: ImageLayer,
  context: ReadyLayerContext,
): Promise<ReadyLayer> {
  const { descriptor, diffId, indexed } = layer;
  const { blobs, layersDirectory: directory, logger, signal } = context;
  let why = "it has no index";
  if (indexed !== undefined) {
    const { index, ztocDigest } = indexed;
    const headers = HeaderTable.of(index.entries);
    const obstacle = await lazyObstacle(descriptor, { index, headers }, context);
    if (obstacle === undefined) {
      return { layer, index, lazy: { ztocDigest, headers }, why: undefined };
    }
    why = obstacle;
  }
  logger.info("layer read whole", { layer: descriptor.digest, why });
  const { index } = await streamedLayer({ directory, descriptor, diffId, blobs, logger, signal });
  return { layer, index, lazy: undefined, why };
}

/** Why a layer can't be read by its index; `undefined` if it can. The cache is opened and closed: nothing is fetched. */
async function lazyObstacle(
  descriptor: Descriptor,
  by: { readonly index: LayerIndex; readonly headers: HeaderTable },
  { blobs, layersDirectory: directory, logger }: ReadyLayerContext,
): Promise<string | undefined> {
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

/** What a layer's metadata image depends on. */
export function imageInput({ layer, index, lazy }: ReadyLayer): ImageInput {
  return {
    layerDigest: layer.descriptor.digest,
    ztocDigest: lazy?.ztocDigest,
    uncompressedSizeBytes: index.uncompressedSizeBytes,
    entries: index.entries,
  };
}

/** Writes what a layer is to be opened by into `directory`, as files that end in `suffix`. */
export async function writeSlotData(
  directory: string,
  suffix: string,
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
  // Spans and checkpoints are all that reading takes; the file table is in the metadata image.
  const stripped = encodeZtoc({ ...index, entries: [] });
  const [indexPath, indexDigest] = await write(`index${suffix}`, stripped);
  const [headersPath, headersDigest] = await write(`headers${suffix}`, lazy.headers.encode());
  const files = { indexPath, indexDigest, headersPath, headersDigest };
  return { kind: "lazy", mediaType, sizeBytes, ...files, diffId: layer.diffId };
}
