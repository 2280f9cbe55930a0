export type { BuiltLayer, LayerCompression, LayerIndex, Span } from "./types.ts";
