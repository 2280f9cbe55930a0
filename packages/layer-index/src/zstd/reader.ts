import { AppError, FormatError } from "@soci-ts/core";
import { Decompress } from "fzstd";
import type { LayerReader, LayerReaderOptions } from "../layer-reader.ts";
import { MAX_ZSTD_WINDOW_BYTES } from "../limits.ts";
import type { TarOutput } from "../tar-output.ts";
import { ZstdFrames } from "./frames.ts";

/** Reads zstd layers. They have no checkpoints, so all that comes of it is the file table. */
export class ZstdReader implements LayerReader {
  // Four bytes may stand for 128 KiB: so this is 128 MiB of output at most, a tenth of a second's work.
  readonly pieceBytes = 4096;
  readonly #frames = new ZstdFrames(MAX_ZSTD_WINDOW_BYTES);
  readonly #decompress: Decompress;
  readonly #hasher: LayerReaderOptions["hasher"];
  #offset = 0;
  /** What the taker of the output threw, which is not the decompressor's fault. */
  #outputFailure: unknown;

  constructor(output: TarOutput, { hasher }: Pick<LayerReaderOptions, "hasher">) {
    this.#hasher = hasher;
    this.#decompress = new Decompress((bytes) => {
      try {
        output.push(bytes);
      } catch (error) {
        this.#outputFailure = error;
        throw error;
      }
    });
  }

  push(bytes: Uint8Array): void {
    this.#hasher.blob(bytes);
    this.#frames.push(bytes);
    // The decompressor keeps pieces until it has a whole block, and the caller reuses its memory.
    this.#run(new Uint8Array(bytes), false);
    this.#offset += bytes.length;
  }

  finish(): void {
    this.#frames.finish();
    this.#run(new Uint8Array(0), true);
  }

  layout(): undefined {}

  [Symbol.dispose](): void {}

  /** The decompressor's own errors have no type and no place. */
  #run(bytes: Uint8Array, isLast: boolean): void {
    try {
      this.#decompress.push(bytes, isLast);
    } catch (error) {
      if (error === this.#outputFailure) throw error;
      throw damagedError(this.#offset, error);
    }
  }
}

function damagedError(offset: number, cause: unknown): FormatError {
  const message = `the data is damaged: ${AppError.from(cause).message}`;
  return new FormatError("zstd", offset, message, { cause });
}
