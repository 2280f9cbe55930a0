import { concatBytes } from "@soci-ts/core";
import { createGzipScan } from "../scan.ts";
import type { GzipScanOptions, GzipScanResult } from "../types.ts";
import { cut } from "./streams.ts";

/** What a whole scan gave, and its output in the slices it came in. */
export interface ScanRecord extends GzipScanResult {
  readonly slices: readonly Uint8Array[];
  readonly output: Uint8Array;
}

/** Options of {@link scanAll}; `pieceBytes` is how much is pushed at once (default: all). */
export type ScanAllOptions = Partial<GzipScanOptions> & { readonly pieceBytes?: number };

/** Scans a stream that is in memory. */
export function scanAll(compressed: Uint8Array, options: ScanAllOptions = {}): ScanRecord {
  const slices: Uint8Array[] = [];
  const onOutput = (bytes: Uint8Array): void => {
    slices.push(bytes.slice());
  };
  using scan = createGzipScan({ spanSizeBytes: 20000, onOutput, ...options });
  for (const piece of cut(compressed, options.pieceBytes ?? (compressed.length || 1))) {
    scan.push(piece);
  }
  return { ...scan.finish(), slices, output: concatBytes(slices) };
}
