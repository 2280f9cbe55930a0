import type { LayerReader, LayerReaderOptions } from "../layer-reader.ts";
import { MAX_ZSTD_WINDOW_BYTES } from "../limits.ts";
import type { TarOutput } from "../tar-output.ts";
import { ZstdDecoder } from "./decoder.ts";
import { ZstdFrames } from "./frames.ts";

/** Reads zstd layers. They have no checkpoints, so all that comes of it is the file table. */
export class ZstdReader implements LayerReader {
  // Four bytes may stand for 128 KiB: so this is 128 MiB of output at most, a tenth of a second's work.
  readonly pieceBytes = 4096;
  readonly #frames: ZstdFrames;
  readonly #hasher: LayerReaderOptions["hasher"];

  constructor(output: TarOutput, { hasher }: Pick<LayerReaderOptions, "hasher">) {
    this.#hasher = hasher;
    const decoder = new ZstdDecoder((bytes) => output.push(bytes));
    this.#frames = new ZstdFrames(MAX_ZSTD_WINDOW_BYTES, decoder);
  }

  push(bytes: Uint8Array): void {
    this.#hasher.blob(bytes);
    this.#frames.push(bytes);
  }

  finish(): void {
    this.#frames.finish();
  }

  layout(): undefined {}

  [Symbol.dispose](): void {}
}
