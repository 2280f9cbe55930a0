import { AppError, type Digest, type IoOptions, type Logger } from "@soci-ts/core";
import type { BuildLayerIndexOptions } from "@soci-ts/layer-index";
import { DEFAULT_SPAN_SIZE_BYTES } from "@soci-ts/layer-index/ztoc";
import {
  type Descriptor,
  MEDIA_TYPE_SOCI_INDEX_V1,
  MEDIA_TYPE_ZTOC,
  type Platform,
} from "@soci-ts/oci";
import type { IndexRecord, Store } from "@soci-ts/store";
import {
  type ImageSource,
  layerKey,
  type ResolvedImage,
  type SourceLayer,
} from "./image-source.ts";
import type { LayerOutcome } from "./index-layer.ts";
import { indexLayers, layerThreads } from "./index-layers.ts";
import { type ReuseOptions, registryZtocs } from "./known-ztoc.ts";
import { refuseEncrypted } from "./layer-kinds.ts";
import { makePrefetchLists, type PrefetchLists } from "./prefetch-files.ts";
import { encodeSociIndexV1, type SociIndexParts } from "./soci-index.ts";

/** Layers smaller than this are quicker to load whole: the value that other builders use too. */
export const DEFAULT_MIN_LAYER_SIZE_BYTES = 10_485_760;

/** Told to {@link CreateIndexOptions.onProgress} when a layer starts, when bytes of it were read, and when it is done. */
export interface LayerProgress {
  readonly layer: Descriptor;
  /** Bytes of the blob that were read so far. */
  readonly compressedBytes: number;
  /** Present when the layer is done. */
  readonly outcome?: LayerOutcome;
}

/** How to create an index. */
export interface CreateIndexOptions extends IoOptions {
  readonly source: ImageSource;
  /** It may still be about to be opened: the image is looked at meanwhile. */
  readonly store: Store | Promise<Store>;
  /** See {@link ImageSource.resolve}. */
  readonly platform?: Platform | undefined;
  /** Default {@link DEFAULT_SPAN_SIZE_BYTES}. */
  readonly spanSizeBytes?: number | undefined;
  /** Compared with the compressed size; 0 takes all layers. Default {@link DEFAULT_MIN_LAYER_SIZE_BYTES}. */
  readonly minLayerSizeBytes?: number | undefined;
  readonly engine?: BuildLayerIndexOptions["engine"];
  /** Files whose spans are to be fetched early, by their paths in the image. */
  readonly prefetchFiles?: readonly string[] | undefined;
  /** Layers that are worked on at a time. Default: as many as there are processors, at most 4. */
  readonly jobs?: number | undefined;
  /** Read every layer, whatever ztocs there are. Default false. */
  readonly force?: boolean | undefined;
  /** Where to look for ztocs that others made of this image, and whom to believe. Default: nowhere. */
  readonly reuse?: ReuseOptions | undefined;
  readonly logger?: Logger | undefined;
  readonly onProgress?: ((progress: LayerProgress) => void) | undefined;
}

/** What was made of one layer. */
export interface CreatedLayer {
  readonly digest: Digest;
  readonly diffId: Digest;
  readonly sizeBytes: number;
  /** Absent if the layer was skipped. */
  readonly ztoc?: Descriptor;
  /** True if the layer was not read: the ztoc was in the store, another process made it, or it was in the registry. */
  readonly reused?: boolean;
  /** Why there is no ztoc. */
  readonly skipped?: string;
}

/** What {@link createIndex} put into the store. */
export interface CreatedIndex extends PrefetchLists {
  readonly reference: string;
  readonly indexDescriptor: Descriptor;
  readonly manifestDigest: Digest;
  readonly platform: Platform;
  /** In the order of the image's layers. */
  readonly layers: readonly CreatedLayer[];
}

/**
 * Builds the SOCI index v1 of one platform of an image and keeps it in the store. Each layer is read once, as a stream, and inflated and
 * hashed in threads; the image itself is only read. Equal input gives equal bytes. When it is aborted or killed, the store holds no half
 * index. Several at once, in any number of processes with one store, share the work.
 * @throws AppError `data_loss` if a layer is not what manifest and config say; `failed_precondition` if no layer got a ztoc,
 * `unimplemented` for an image with an encrypted layer.
 */
export async function createIndex(options: CreateIndexOptions): Promise<CreatedIndex> {
  const { source } = options;
  const image = await source.resolve(options.platform, options);
  const indexed = await indexImage(image, options);
  const store = await options.store;
  const { platform, layers, ztocs, prefetchLists, filesNotFound } = indexed;
  if (ztocs.length === 0) throw nothingIndexed(source.reference, layers);

  const { descriptor, bytes } = encodeSociIndexV1(image.manifestDescriptor, indexed);
  options.signal?.throwIfAborted();
  await store.writeBlob(bytes);
  await store.addIndex(
    indexRecord(descriptor, indexed, {
      manifestDigest: image.manifestDescriptor.digest,
      reference: source.reference,
      platform,
    }),
  );
  return {
    reference: source.reference,
    indexDescriptor: descriptor,
    manifestDigest: image.manifestDescriptor.digest,
    platform,
    layers,
    prefetchLists,
    filesNotFound,
  };
}

/** What was made of the layers of one platform's image: the parts of an index manifest. */
export interface IndexedImage extends SociIndexParts, PrefetchLists {
  readonly prefetchLists: PrefetchLists["prefetchLists"];
  /** What the image's config says. */
  readonly platform: Platform;
  /** In the order of the image's layers. */
  readonly layers: readonly CreatedLayer[];
}

/** Puts the ztocs of an image's layers into the store, which holds them; none is no failure. */
export async function indexImage(
  image: ResolvedImage,
  options: CreateIndexOptions,
): Promise<IndexedImage> {
  const {
    spanSizeBytes = DEFAULT_SPAN_SIZE_BYTES,
    minLayerSizeBytes = DEFAULT_MIN_LAYER_SIZE_BYTES,
    force,
    reuse,
  } = options;
  refuseEncrypted(image.manifest.layers, options.source.reference);
  const { platform, layers: sourceLayers } = await image.config(options);
  const sizes = { spanSizeBytes, minLayerSizeBytes };
  await using threads = layerThreads(sourceLayers, { ...options, ...sizes });
  const store = await options.store;
  const work = { ...options, ...sizes, store, threads };
  const findElsewhere =
    force === true || reuse === undefined ? undefined : registryZtocs(reuse, image, work);
  const outcomes = await indexLayers(sourceLayers, { ...work, findElsewhere });
  const layers = sourceLayers.map((layer) => createdLayer(layer, outcomes.get(layerKey(layer))));
  const ztocs = sourceLayers.flatMap((layer) => {
    const outcome = outcomes.get(layerKey(layer));
    if (outcome === undefined || outcome.kind === "skipped") return [];
    const { digest, sizeBytes, kind } = outcome;
    const builtHere = kind !== "found";
    return [{ digest, sizeBytes, layer: layer.descriptor, spanSizeBytes, builtHere }];
  });
  const lists = await makePrefetchLists(store, ztocs, options.prefetchFiles ?? []);
  return { platform, layers, ztocs, ...lists };
}

/** The catalogue's record of an index that was just made. */
export function indexRecord(
  descriptor: Descriptor,
  parts: SociIndexParts,
  image: Pick<IndexRecord, "manifestDigest" | "reference" | "platform">,
): IndexRecord {
  return {
    ...image,
    digest: descriptor.digest,
    artifactType: descriptor.artifactType ?? MEDIA_TYPE_SOCI_INDEX_V1,
    sizeBytes: descriptor.size,
    createdAt: new Date(),
    ztocs: parts.ztocs.map(({ digest, sizeBytes, layer, spanSizeBytes, builtHere = true }) => ({
      digest,
      sizeBytes,
      layerDigest: layer.digest,
      layerMediaType: layer.mediaType,
      spanSizeBytes,
      builtHere,
    })),
    prefetchLists: parts.prefetchLists,
  };
}

function createdLayer(
  { descriptor, diffId }: SourceLayer,
  outcome: LayerOutcome | undefined,
): CreatedLayer {
  const common = { digest: descriptor.digest, diffId, sizeBytes: descriptor.size };
  if (outcome === undefined) return { ...common, skipped: "not read" };
  if (outcome.kind === "skipped") return { ...common, skipped: outcome.reason };
  const { digest, sizeBytes } = outcome;
  const ztoc = { mediaType: MEDIA_TYPE_ZTOC, digest, size: sizeBytes };
  return { ...common, ztoc, reused: outcome.kind !== "indexed" };
}

/** The error for an image of which no layer got a ztoc; it says why for each. */
export function nothingIndexed(reference: string, layers: readonly CreatedLayer[]): AppError {
  const reasons = layers.map((layer) => `${layer.digest}: ${layer.skipped}`).join("; ");
  return new AppError(
    "failed_precondition",
    `Cannot create an index of ${reference}: no ztocs created, all layers were skipped (${reasons})`,
  );
}
