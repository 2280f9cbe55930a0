import { createHash } from "node:crypto";
import { mkdir } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { AppError, type Digest, Semaphore, sha256 } from "@soci-ts/core";
import { parseReference, type Reference } from "@soci-ts/oci";
import { registryImageSource, type SourceLayer } from "@soci-ts/soci";
import { openStore, type Store } from "@soci-ts/store";
import type { LayerStep } from "../contract/types.ts";
import { ChainImages } from "../metadata-images.ts";
import {
  type ImageLayer,
  imageInput,
  type ReadyLayer,
  type ReadyLayerContext,
  readyLayer,
  writeSlotData,
} from "../ready-layer.ts";
import {
  earlyIndexReader,
  type ImageIndex,
  type IndexedLayer,
  lookUpIndex,
  readIndexedLayers,
} from "./image-index.ts";
import type { ImageJob, LayerReport, WorkedLayer } from "./image-job.ts";
import type { ImageWorkerOptions } from "./image-worker.ts";
import { nodePaths } from "./node-paths.ts";
import { PrefetchLists } from "./prefetch-lists.ts";
import { resolveInTime } from "./resolve-in-time.ts";

type WorkOptions = ImageWorkerOptions & { readonly signal: AbortSignal };

/** One layer on its way. */
interface LayerWork {
  readonly source: SourceLayer;
  readonly chainId: string;
  readonly image: ImageIndex;
  readonly steps: LayerStep[];
  /** `undefined`: it can't be had here, and `steps` says why. */
  readonly ready: Promise<ReadyLayer | undefined>;
  readonly prefetch: PrefetchLists;
}

/**
 * Makes the layers of an image ready, all at once, and reports them from the bottom up. What is wrong with one layer is in its report;
 * the others go on.
 * @throws AppError if manifest or config can't be had: nothing is known of any layer then.
 */
export async function* reportLayers(
  job: ImageJob,
  options: WorkOptions,
): AsyncGenerator<LayerReport> {
  await using store = await openStore(nodePaths(options.root).store);
  const works = await startLayers(job, store, options);
  const images = new ChainImages(await store.directory("images"), [], options);
  for (const [position, work] of works.entries()) {
    const ready = await work.ready;
    images.add(ready && imageInput(ready));
    const { steps, prefetch } = work;
    const layer = ready && (await workLayer(position, { job, ready, images, steps, prefetch }));
    if (layer === undefined) work.steps.push(LEFT_TO_CONTAINERD);
    yield { position, chainId: work.chainId, layer, story: storyOf(job, work, ready) };
  }
}

/** Indexes that a layer's story tells of. */
const MAX_CONSIDERED = 16;

const LEFT_TO_CONTAINERD: LayerStep = {
  tried: "pull",
  worked: true,
  why: "left to containerd, which then downloads this layer and those above it",
};

function storyOf(
  { imageReference, manifestDigest }: ImageJob,
  { source, steps, image }: LayerWork,
  ready: ReadyLayer | undefined,
): LayerReport["story"] {
  const { digest: layerDigest, size: sizeBytes } = source.descriptor;
  const { found, considered = [] } = image;
  const index =
    ready?.lazy === undefined
      ? {}
      : { indexDigest: found?.indexDescriptor.digest, indexOrigin: found?.origin };
  const about = { imageReference, manifestDigest, layerDigest, sizeBytes };
  return { ...about, ...index, considered: considered.slice(0, MAX_CONSIDERED), steps };
}

/** Asks the registry at the same time for everything that does not depend on each other, and sets all layers going. */
async function startLayers(
  job: ImageJob,
  store: Store,
  options: WorkOptions,
): Promise<readonly LayerWork[]> {
  const { client, logger, signal } = options;
  const reference = pinnedReference(job);
  const reader = earlyIndexReader(client, reference, job.manifestDigest, signal);
  const source = registryImageSource(client, reference);
  const { image, config } = await resolveInTime(source, options);
  const lookUp = { ...options, reference, store };
  const [index, { layers }] = await Promise.all([lookUpIndex(image, reader, lookUp), config]);
  const layersDirectory = await store.directory("layers");
  const context = { layersDirectory, blobs: source, logger, signal };
  const permits = new Semaphore(options.wholeAtOnce);
  const chainIds = chainIdsOf(layers);
  const indexed = readIndexedLayers(layers, index, lookUp);
  const descriptors = layers.map(({ descriptor }) => descriptor);
  const prefetch = new PrefetchLists(descriptors, index, lookUp);
  return layers.map((layer, position) => {
    const steps: LayerStep[] = [];
    const ready = indexed[position]?.then((by) =>
      makeReady(layer, by, { context, permits, steps }),
    );
    ready?.catch(() => {}); // it is awaited in its turn
    const chainId = chainIds[position] ?? "";
    return {
      source: layer,
      chainId,
      image: index,
      steps,
      ready: ready ?? Promise.resolve(undefined),
      prefetch,
    };
  });
}

/** Makes one layer ready and notes each step. @throws the signal's reason, nothing else. */
async function makeReady(
  { descriptor, diffId }: SourceLayer,
  by: IndexedLayer,
  how: {
    readonly context: ReadyLayerContext & { readonly signal: AbortSignal };
    readonly permits: Semaphore;
    readonly steps: LayerStep[];
  },
): Promise<ReadyLayer | undefined> {
  const { context, permits, steps } = how;
  const layer: ImageLayer = { descriptor, diffId, indexed: by.indexed };
  const isIndexed = by.indexed !== undefined;
  try {
    const make = (): Promise<ReadyLayer> => readyLayer(layer, context);
    const ready = await (isIndexed ? make() : permits.run(make, context.signal));
    if (ready.lazy !== undefined) steps.push({ tried: "index", worked: true, why: by.why });
    else {
      const why = isIndexed ? (ready.why ?? "") : by.why;
      steps.push({ tried: "index", worked: false, why, kind: by.kind ?? "ztoc_failed" });
      steps.push({
        tried: "stream",
        worked: true,
        why: "read whole once, and indexed on this node",
      });
    }
    return ready;
  } catch (error) {
    context.signal.throwIfAborted();
    const { message } = AppError.from(error);
    steps.push({ tried: "index", worked: false, why: by.why, kind: by.kind ?? "ztoc_failed" });
    steps.push({ tried: "stream", worked: false, why: message });
    return undefined;
  }
}

/** Writes what the layer is to be opened by; `undefined` if its files can't be made into a tree. */
async function workLayer(
  position: number,
  parts: {
    readonly job: ImageJob;
    readonly ready: ReadyLayer;
    readonly images: ChainImages;
    readonly steps: LayerStep[];
    readonly prefetch: PrefetchLists;
  },
): Promise<WorkedLayer | undefined> {
  const { job, ready, images, steps, prefetch } = parts;
  try {
    const { path: imagePath, devices } = await images.image(position);
    const directory = join(job.directory, String(position));
    await mkdir(directory, { recursive: true, mode: 0o700 });
    const data = await writeSlotData(directory, "", ready);
    if (ready.lazy !== undefined) {
      await prefetch.write(position, directory, ready.index.spans.length);
    }
    const layerDigest = ready.layer.descriptor.digest;
    const identity = identityOf(ready, imagePath);
    return { identity, layerDigest, data, directory, imagePath, devices };
  } catch (error) {
    const tried = ready.lazy === undefined ? "stream" : "index";
    const kind = ready.lazy === undefined ? undefined : "ztoc_failed";
    steps.push({ tried, worked: false, why: AppError.from(error).message, kind });
    return undefined;
  }
}

/** The metadata image's folder tells how overlayfs's marks are written, and its name what the image is made of. */
function identityOf({ layer, lazy }: ReadyLayer, imagePath: string): string {
  const image = `${basename(dirname(imagePath))}/${basename(imagePath)}`;
  const parts = [layer.descriptor.digest, lazy?.ztocDigest ?? "read", image];
  return createHash("sha256").update(parts.join("\n")).digest("hex");
}

function pinnedReference({ imageReference, manifestDigest }: ImageJob): Reference {
  const { registry, repository } = parseReference(imageReference);
  return { registry, repository, digest: manifestDigest };
}

/** ChainIDs from the bottom up (OCI image-spec, config.md, "Layer ChainID"). */
function chainIdsOf(layers: readonly SourceLayer[]): readonly string[] {
  const ids: Digest[] = [];
  for (const { diffId } of layers) {
    const below = ids.at(-1);
    ids.push(below === undefined ? diffId : sha256(Buffer.from(`${below} ${diffId}`)));
  }
  return ids;
}
