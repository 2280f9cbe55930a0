import { AppError, type Digest } from "@soci-ts/core";
import type { LayerReader, LayerReaderOptions, SpanLayout } from "./layer-reader.ts";
import { gridSpans, type LayerSizes } from "./spans.ts";
import type { TarOutput } from "./tar-output.ts";

const NOTHING = new Uint8Array(0);

/** Reads uncompressed layers, which it cuts into a grid of equal spans. */
export class PlainReader implements LayerReader {
  readonly pieceBytes = 1_048_576;
  readonly #output: TarOutput;
  readonly #options: LayerReaderOptions;
  #spanCount = 0;
  /** Bytes that the current span lacks. */
  #missing = 0;

  constructor(output: TarOutput, options: LayerReaderOptions) {
    this.#output = output;
    this.#options = options;
  }

  push(bytes: Uint8Array): void {
    this.#output.push(bytes);
    for (let at = 0; at < bytes.length; ) {
      if (this.#missing === 0) this.#startSpan();
      const piece = bytes.subarray(at, at + this.#missing);
      this.#options.hasher.blob(piece);
      this.#missing -= piece.length;
      at += piece.length;
    }
  }

  finish(): void {}

  layout(sizes: LayerSizes, spanDigests: readonly Digest[]): SpanLayout {
    const { spanSizeBytes } = this.#options;
    return {
      compression: "none",
      spanSizeBytes,
      spans: gridSpans(spanSizeBytes, sizes, spanDigests),
      checkpoints: [],
    };
  }

  [Symbol.dispose](): void {}

  #startSpan(): void {
    const { limits, spanSizeBytes, hasher } = this.#options;
    if (this.#spanCount >= limits.maxSpans) {
      throw new AppError(
        "resource_exhausted",
        `Cannot index the layer: it has over ${limits.maxSpans} spans, want at most so many: a larger span size gives fewer`,
      );
    }
    this.#spanCount += 1;
    this.#missing = spanSizeBytes;
    hasher.cut(NOTHING);
  }
}
