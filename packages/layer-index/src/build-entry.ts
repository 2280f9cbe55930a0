// What a thread that only builds indexes loads: the whole package costs it twice the time to start.
export { type BuildLayerIndexOptions, buildLayerIndex } from "./build.ts";
export { PackedEntries } from "./packed-entries.ts";
export type { BuiltLayer, LayerCompression, LayerIndex } from "./types.ts";
export { encodeZtoc } from "./ztoc/encode.ts";
