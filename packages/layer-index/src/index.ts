export { type BuildLayerIndexOptions, buildLayerIndex } from "./build.ts";
export { HeaderTable, type SplitHeader } from "./header-table.ts";
export type { LayerIndexLimits } from "./limits.ts";
export type { EntrySequence } from "./packed-entries.ts";
export { DEFAULT_SPAN_SIZE_BYTES } from "./spans.ts";
// src/tree/:
export { buildLayerTree, type LayerTreeOptions } from "./tree/build-layer-tree.ts";
export type { LayerTreeLimits } from "./tree/limits.ts";
export { mergedView, type OverlayXattrs } from "./tree/merged-view.ts";
export type { LayerRef, LayerTree, LowerNode, LowerView } from "./tree/types.ts";
export type {
  BuiltLayer,
  EncodableIndex,
  LayerCompression,
  LayerIndex,
  Span,
  SpanRange,
} from "./types.ts";
export type { IndexDifference } from "./verify/difference.ts";
export { type VerifyZtocOptions, verifyZtoc, type ZtocVerdict } from "./verify/verify-ztoc.ts";
export { type DecodedZtoc, decodeZtoc, type OpenedZtoc, openZtoc } from "./ztoc/decode.ts";
export { type EncodeZtocOptions, encodeZtoc } from "./ztoc/encode.ts";
export { DEFAULT_BUILD_TOOL } from "./ztoc/slots.ts";
