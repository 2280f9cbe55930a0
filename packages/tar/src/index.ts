export type { TarEntry, TarEntryType, TarLimits, TarScan, TarScanResult } from "./types.ts";
