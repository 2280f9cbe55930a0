export { DEFAULT_TAR_LIMITS } from "./limits.ts";
export { createTarScan } from "./scan.ts";
export type {
  TarEntry,
  TarEntryType,
  TarLimits,
  TarScan,
  TarScanOptions,
  TarScanResult,
} from "./types.ts";
