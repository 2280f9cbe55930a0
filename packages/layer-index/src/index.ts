export { type BuildLayerIndexOptions, buildLayerIndex } from "./build.ts";
export { HeaderTable, type SplitHeader } from "./header-table.ts";
export type { LayerIndexLimits } from "./limits.ts";
export { DEFAULT_SPAN_SIZE_BYTES } from "./spans.ts";
// src/tree/:
export { buildLayerTree, type LayerTreeOptions } from "./tree/build-layer-tree.ts";
export type { LayerTreeLimits } from "./tree/limits.ts";
export { mergedView, type OverlayXattrs } from "./tree/merged-view.ts";
export type { LayerRef, LayerTree, LowerNode, LowerView } from "./tree/types.ts";
export type { BuiltLayer, LayerCompression, LayerIndex, Span, SpanRange } from "./types.ts";
export { type DecodedZtoc, decodeZtoc } from "./ztoc/decode.ts";
export { type EncodeZtocOptions, encodeZtoc } from "./ztoc/encode.ts";
export { DEFAULT_BUILD_TOOL } from "./ztoc/slots.ts";
