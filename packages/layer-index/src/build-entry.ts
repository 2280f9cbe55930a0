// What a thread that only builds indexes loads: the whole package costs it twice the time to start.
export { type BuildLayerIndexOptions, buildLayerIndex } from "./build.ts";
export { PackedCheckpoints } from "./packed-checkpoints.ts";
export { PackedEntries } from "./packed-entries.ts";
export type { BuiltLayer, LayerCompression, LayerIndex } from "./types.ts";
export { ztocBytes } from "./ztoc/encode.ts";
export type { LazyBytes } from "./ztoc/flat-writer.ts";
