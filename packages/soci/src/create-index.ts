import { AppError, type Digest, type IoOptions } from "@soci-ts/core";
import { type BuildLayerIndexOptions, DEFAULT_SPAN_SIZE_BYTES } from "@soci-ts/layer-index";
import {
  type Descriptor,
  MEDIA_TYPE_SOCI_INDEX_V1,
  MEDIA_TYPE_ZTOC,
  type Platform,
} from "@soci-ts/oci";
import type { Store } from "@soci-ts/store";
import type { ImageSource, SourceLayer } from "./image-source.ts";
import { indexLayer, type LayerOutcome } from "./index-layer.ts";
import { refuseEncrypted } from "./layer-kinds.ts";
import { encodeSociIndexV1 } from "./soci-index.ts";

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
  readonly store: Store;
  /** See {@link ImageSource.resolve}. */
  readonly platform?: Platform | undefined;
  /** Default {@link DEFAULT_SPAN_SIZE_BYTES}. */
  readonly spanSizeBytes?: number | undefined;
  /** Compared with the compressed size; 0 takes all layers. Default {@link DEFAULT_MIN_LAYER_SIZE_BYTES}. */
  readonly minLayerSizeBytes?: number | undefined;
  readonly engine?: BuildLayerIndexOptions["engine"];
  readonly onProgress?: ((progress: LayerProgress) => void) | undefined;
}

/** What was made of one layer. */
export interface CreatedLayer {
  readonly digest: Digest;
  readonly diffId: Digest;
  readonly sizeBytes: number;
  /** Absent if the layer was skipped. */
  readonly ztoc?: Descriptor;
  /** True if the ztoc was in the store already. */
  readonly reused?: boolean;
  /** Why there is no ztoc. */
  readonly skipped?: string;
}

/** What {@link createIndex} put into the store. */
export interface CreatedIndex {
  readonly reference: string;
  readonly indexDescriptor: Descriptor;
  readonly manifestDigest: Digest;
  readonly platform: Platform;
  /** In the order of the image's layers. */
  readonly layers: readonly CreatedLayer[];
}

/**
 * Builds the SOCI index v1 of one platform of an image and keeps it in the store. Each layer is read once, as a stream; the
 * image itself is only read. Equal input gives equal bytes. When it is aborted or killed, the store holds no half index.
 * @throws DigestMismatchError if a layer is not what manifest and config say; AppError `failed_precondition` if no layer got a ztoc,
 * `unimplemented` for an image with an encrypted layer.
 */
export async function createIndex(options: CreateIndexOptions): Promise<CreatedIndex> {
  const { source, store } = options;
  const spanSizeBytes = options.spanSizeBytes ?? DEFAULT_SPAN_SIZE_BYTES;
  const image = await source.resolve(options.platform, options);
  refuseEncrypted(image.manifest.layers, source.reference);
  const { platform, layers: sourceLayers } = await image.config(options);
  const outcomes = await indexLayers(sourceLayers, options);
  const layers = sourceLayers.map((layer) => createdLayer(layer, outcomes.get(keyOf(layer))));
  const ztocs = sourceLayers.flatMap((layer) => {
    const outcome = outcomes.get(keyOf(layer));
    if (outcome === undefined || outcome.kind === "skipped") return [];
    const { digest, sizeBytes } = outcome;
    return [{ digest, sizeBytes, layer: layer.descriptor, spanSizeBytes }];
  });
  if (ztocs.length === 0) throw nothingIndexed(source, layers);

  const { descriptor, bytes } = encodeSociIndexV1({ subject: image.manifestDescriptor, ztocs });
  options.signal?.throwIfAborted();
  await store.writeBlob(bytes);
  await store.addIndex({
    digest: descriptor.digest,
    manifestDigest: image.manifestDescriptor.digest,
    reference: source.reference,
    platform,
    artifactType: MEDIA_TYPE_SOCI_INDEX_V1,
    sizeBytes: bytes.length,
    createdAt: new Date(),
    ztocs: ztocs.map(({ digest, sizeBytes, layer }) => ({
      digest,
      sizeBytes,
      layerDigest: layer.digest,
      layerMediaType: layer.mediaType,
      spanSizeBytes,
    })),
  });
  return {
    reference: source.reference,
    indexDescriptor: descriptor,
    manifestDigest: image.manifestDescriptor.digest,
    platform,
    layers,
  };
}

/**
 * Indexes each distinct layer once, one after the other: the work is bound by this thread, while the next bytes wait in the socket;
 * two at a time took as long and 30 MB more.
 */
async function indexLayers(
  layers: readonly SourceLayer[],
  options: CreateIndexOptions,
): Promise<ReadonlyMap<string, LayerOutcome>> {
  const outcomes = new Map<string, LayerOutcome>();
  for (const layer of layers) {
    const key = keyOf(layer);
    if (!outcomes.has(key)) outcomes.set(key, await indexOne(layer, options));
  }
  return outcomes;
}

async function indexOne(
  { descriptor: layer, diffId }: SourceLayer,
  options: CreateIndexOptions,
): Promise<LayerOutcome> {
  const { source, store, signal, engine, onProgress } = options;
  let compressedBytes = 0;
  onProgress?.({ layer, compressedBytes });
  const outcome = await indexLayer({
    store,
    layer,
    diffId,
    signal,
    engine,
    openBlob: (descriptor) => source.openBlob(descriptor),
    spanSizeBytes: options.spanSizeBytes ?? DEFAULT_SPAN_SIZE_BYTES,
    minLayerSizeBytes: options.minLayerSizeBytes ?? DEFAULT_MIN_LAYER_SIZE_BYTES,
    onBytes(bytes) {
      compressedBytes = bytes;
      onProgress?.({ layer, compressedBytes });
    },
  });
  onProgress?.({ layer, compressedBytes, outcome });
  return outcome;
}

/** One blob may stand in a manifest several times; with another diffID it is another claim that has to be checked. */
function keyOf({ descriptor, diffId }: SourceLayer): string {
  return `${descriptor.digest} ${descriptor.mediaType} ${diffId}`;
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
  return { ...common, ztoc, reused: outcome.kind === "reused" };
}

function nothingIndexed(source: ImageSource, layers: readonly CreatedLayer[]): AppError {
  const reasons = layers.map((layer) => `${layer.digest}: ${layer.skipped}`).join("; ");
  return new AppError(
    "failed_precondition",
    `Cannot create an index of ${source.reference}: no ztocs created, all layers were skipped (${reasons})`,
  );
}
