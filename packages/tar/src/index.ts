export { DEFAULT_TAR_LIMITS } from "./limits.ts";
export { createTarScan } from "./scan.ts";
export {
  TAR_ENTRY_TYPES,
  type TarEntry,
  type TarEntryType,
  type TarLimits,
  type TarScan,
  type TarScanOptions,
  type TarScanResult,
} from "./types.ts";
