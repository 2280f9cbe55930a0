import { createTarScan, type TarEntry, type TarLimits, type TarScan } from "@soci-ts/tar";
import type { LayerHasher } from "./layer-hasher.ts";

/** What the uncompressed side of a layer is. */
export interface TarOutputResult {
  readonly entries: readonly TarEntry[];
  readonly uncompressedSizeBytes: number;
}

/** What takes a layer's uncompressed bytes besides the tar scan. */
export interface TarOutputOptions {
  readonly limits: TarLimits;
  readonly hasher: LayerHasher;
  readonly onOutput: ((bytes: Uint8Array) => void) | undefined;
  /** Takes the entries; without it the result has them. */
  readonly onEntry: ((entry: TarEntry) => void) | undefined;
}

/** Takes the uncompressed bytes of a layer in order: scans them, and hands them on to be hashed. */
export class TarOutput {
  readonly #entries: TarEntry[] = [];
  readonly #scan: TarScan;
  readonly #options: TarOutputOptions;

  constructor(options: TarOutputOptions) {
    const { limits, onEntry = (entry) => this.#entries.push(entry) } = options;
    this.#scan = createTarScan({ limits, onEntry });
    this.#options = options;
  }

  /** Takes the next bytes; they may be reused afterwards. */
  push(bytes: Uint8Array): void {
    this.#scan.push(bytes);
    this.#options.hasher.content(bytes);
    this.#options.onOutput?.(bytes);
  }

  finish(): TarOutputResult {
    const { endOffset } = this.#scan.finish();
    return { entries: this.#entries, uncompressedSizeBytes: endOffset };
  }
}
