export {
  type Checkpoint,
  type EngineName,
  type GzipScan,
  type GzipScanOptions,
  type GzipScanResult,
  WINDOW_BYTES,
} from "./types.ts";
