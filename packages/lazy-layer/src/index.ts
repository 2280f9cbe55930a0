export type { EvictedChunks, PunchHole } from "./evict-chunks.ts";
export {
  type HydratedLayer,
  type HydrationCandidate,
  type HydrationClock,
  Hydrator,
  type HydratorOptions,
} from "./hydrator.ts";
export type { LayerLimits } from "./limits.ts";
export { type OpenLazyLayerOptions, openLazyLayer } from "./open-lazy-layer.ts";
export { type PresentBytes, PresentReader } from "./present-reader.ts";
export { removeCachedBytes } from "./remove-cached-bytes.ts";
export { Speculator } from "./speculator.ts";
export {
  findStreamedLayer,
  type StreamedLayer,
  type StreamLayerOptions,
  streamLayer,
} from "./stream-layer.ts";
export type { CachedSpan, CacheSpace, LayerStats, LazyLayer, RangeBlob } from "./types.ts";
export { findWholeCache, type WholeCacheOptions } from "./whole-cache.ts";
export { type JudgedCache, readWholeVerdict, type WholeVerdict } from "./whole-verdict.ts";
