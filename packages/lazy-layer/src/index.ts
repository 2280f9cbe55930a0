export {
  type HydratedLayer,
  type HydrationCandidate,
  type HydrationClock,
  Hydrator,
  type HydratorOptions,
} from "./hydrator.ts";
export type { LayerLimits } from "./limits.ts";
export { type OpenLazyLayerOptions, openLazyLayer } from "./open-lazy-layer.ts";
export { Speculator } from "./speculator.ts";
export { type StreamedLayer, type StreamLayerOptions, streamLayer } from "./stream-layer.ts";
export type { LayerStats, LazyLayer, RangeBlob } from "./types.ts";
export { findWholeCache, type WholeCacheOptions } from "./whole-cache.ts";
export { type JudgedCache, readWholeVerdict, type WholeVerdict } from "./whole-verdict.ts";
