export { availableEngines } from "./engines.ts";
export { MAX_EXPANSION } from "./limits.ts";
export { type InflateOptions, inflateFrom, inflateHere, inflateRest } from "./resume.ts";
export { createGzipScan } from "./scan.ts";
export {
  type Checkpoint,
  type EngineName,
  type GzipScan,
  type GzipScanOptions,
  type GzipScanResult,
  WINDOW_BYTES,
} from "./types.ts";
