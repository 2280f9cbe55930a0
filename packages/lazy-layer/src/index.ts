export type { LayerLimits } from "./limits.ts";
export { type OpenLazyLayerOptions, openLazyLayer } from "./open-lazy-layer.ts";
export { Speculator } from "./speculator.ts";
export {
  findStreamedLayer,
  type StreamedLayer,
  type StreamLayerOptions,
  streamLayer,
} from "./stream-layer.ts";
export type { LayerStats, LazyLayer, RangeBlob } from "./types.ts";
