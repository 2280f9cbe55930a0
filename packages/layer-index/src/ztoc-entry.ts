// What those load who only read ztocs: the whole package brings the file tree and the builder with it.
export { DEFAULT_SPAN_SIZE_BYTES } from "./spans.ts";
export type { LayerIndex } from "./types.ts";
export { type DecodedZtoc, decodeZtoc } from "./ztoc/decode.ts";
export { DEFAULT_BUILD_TOOL } from "./ztoc/slots.ts";
