import { type Digest, Digester } from "@soci-ts/core";
import { createTarScan, type TarEntry, type TarLimits, type TarScan } from "@soci-ts/tar";

/** What the uncompressed side of a layer is. */
export interface TarOutputResult {
  readonly entries: readonly TarEntry[];
  readonly uncompressedSizeBytes: number;
  readonly diffId: Digest;
}

/** Takes the uncompressed bytes of a layer in order: hashes and scans them, and hands them on. */
export class TarOutput {
  readonly #entries: TarEntry[] = [];
  readonly #scan: TarScan;
  readonly #digester = new Digester();
  readonly #onOutput: ((bytes: Uint8Array) => void) | undefined;

  constructor(limits: TarLimits, onOutput: ((bytes: Uint8Array) => void) | undefined) {
    this.#scan = createTarScan({ limits, onEntry: (entry) => this.#entries.push(entry) });
    this.#onOutput = onOutput;
  }

  /** Takes the next bytes; they may be reused afterwards. */
  push(bytes: Uint8Array): void {
    this.#scan.push(bytes);
    this.#digester.update(bytes);
    this.#onOutput?.(bytes);
  }

  finish(): TarOutputResult {
    const { endOffset } = this.#scan.finish();
    return {
      entries: this.#entries,
      uncompressedSizeBytes: endOffset,
      diffId: this.#digester.digest(),
    };
  }
}
