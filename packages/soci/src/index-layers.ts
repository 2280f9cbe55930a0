import { availableParallelism } from "node:os";
import { AppError, type Digest } from "@soci-ts/core";
import type { Store } from "@soci-ts/store";
import type { CreateIndexOptions } from "./create-index.ts";
import { layerKey, type SourceLayer } from "./image-source.ts";
import { type IndexLayerOptions, indexLayer, type LayerOutcome } from "./index-layer.ts";
import type { ZtocFinder } from "./known-ztoc.ts";
import { kindSkipReason } from "./layer-kinds.ts";
import { LayerThreads } from "./threads/layer-threads.ts";

/** More layers at a time cost memory and, the link and the disk being what they are, gain nothing. */
const MAX_DEFAULT_JOBS = 4;
/** An image with less to index than this is done before threads would have started (60 ms). */
const THREADS_FROM_BYTES = 2_097_152;

/** How {@link indexLayers} does it, beside what the caller of `createIndex` said. */
export interface IndexLayersOptions extends CreateIndexOptions {
  readonly store: Store;
  /** Of {@link layerThreads}; they stay the caller's. */
  readonly threads: LayerThreads;
  readonly spanSizeBytes: number;
  readonly minLayerSizeBytes: number;
  readonly findElsewhere: ZtocFinder | undefined;
}

/**
 * Threads for indexing layers, begun to be started where there is enough to do for them: that takes as long as opening a store. The caller
 * disposes of them.
 */
export function layerThreads(
  layers: readonly SourceLayer[],
  options: Pick<IndexLayersOptions, "jobs" | "minLayerSizeBytes">,
): LayerThreads {
  const jobs = jobsOf(options);
  const threads = new LayerThreads(jobs);
  const toIndex = layersToIndex(distinctLayers(layers), options);
  if (isWorthThreads(toIndex)) threads.start(Math.min(jobs, toIndex.length));
  return threads;
}

/**
 * Indexes each distinct layer once, several at a time, the largest first: so the last one to end is a small one. The first that
 * fails ends all others.
 * @returns the outcomes by {@link layerKey}.
 */
export async function indexLayers(
  layers: readonly SourceLayer[],
  options: IndexLayersOptions,
): Promise<ReadonlyMap<string, LayerOutcome>> {
  const largestFirst = distinctLayers(layers).sort((a, b) => b.descriptor.size - a.descriptor.size);
  const { threads } = options;
  const outcomes = new Map<string, LayerOutcome>();
  const failed = new AbortController();
  const signal = AbortSignal.any([failed.signal, ...(options.signal ? [options.signal] : [])]);
  const scan = isWorthThreads(layersToIndex(largestFirst, options))
    ? threads.scan.bind(threads)
    : (await import("./threads/scan-here.ts")).scanHere;
  const force = options.force === true || isAmbiguous(largestFirst);
  const index = async (layer: SourceLayer): Promise<void> => {
    const one = { ...options, signal, scan, force };
    try {
      outcomes.set(layerKey(layer), await threads.run(() => indexOne(layer, one), { signal }));
    } catch (error) {
      failed.abort(error);
      throw error;
    }
  };
  // All have ended when this goes on: nothing is written for a caller that was told of a failure.
  await Promise.allSettled(largestFirst.map(index));
  signal.throwIfAborted();
  return outcomes;
}

type OneLayerOptions = IndexLayersOptions & Pick<IndexLayerOptions, "signal" | "scan" | "force">;

async function indexOne(
  { descriptor: layer, diffId }: SourceLayer,
  options: OneLayerOptions,
): Promise<LayerOutcome> {
  const { source, onProgress } = options;
  let compressedBytes = 0;
  onProgress?.({ layer, compressedBytes });
  const outcome = await indexLayer({
    ...options,
    layer,
    diffId,
    openBlob: (descriptor) => source.openBlob(descriptor),
    onBytes(bytes) {
      compressedBytes = bytes;
      onProgress?.({ layer, compressedBytes });
    },
  });
  onProgress?.({ layer, compressedBytes, outcome });
  return outcome;
}

function jobsOf({
  jobs = Math.min(availableParallelism(), MAX_DEFAULT_JOBS),
}: Pick<CreateIndexOptions, "jobs">): number {
  if (Number.isSafeInteger(jobs) && jobs >= 1) return jobs;
  const state = `${jobs} layers at a time, want a positive integer`;
  throw new AppError("invalid_argument", `Cannot index the image: ${state}`);
}

function distinctLayers(layers: readonly SourceLayer[]): SourceLayer[] {
  return [...new Map(layers.map((layer) => [layerKey(layer), layer])).values()];
}

/** Those that are neither too small nor of a kind that gets no ztoc. */
function layersToIndex(
  layers: readonly SourceLayer[],
  { minLayerSizeBytes }: Pick<IndexLayersOptions, "minLayerSizeBytes">,
): readonly SourceLayer[] {
  return layers.filter(
    ({ descriptor }) =>
      descriptor.size >= minLayerSizeBytes && kindSkipReason(descriptor) === undefined,
  );
}

function isWorthThreads(toIndex: readonly SourceLayer[]): boolean {
  return bytesOf(toIndex) >= THREADS_FROM_BYTES;
}

function bytesOf(layers: readonly SourceLayer[]): number {
  return layers.reduce((sum, { descriptor }) => sum + descriptor.size, 0);
}

/** True if an image says two things of one blob: then its ztoc is made for each, which checks both. */
function isAmbiguous(distinct: readonly SourceLayer[]): boolean {
  return (
    new Set<Digest>(distinct.map(({ descriptor }) => descriptor.digest)).size < distinct.length
  );
}
