import { AppError, type Digest, Digester } from "@soci-ts/core";
import type { LayerReader, LayerReaderOptions, SpanLayout } from "./layer-reader.ts";
import { gridSpans, type LayerSizes } from "./spans.ts";
import type { TarOutput } from "./tar-output.ts";

/** Reads uncompressed layers, which it cuts into a grid of equal spans. */
export class PlainReader implements LayerReader {
  readonly pieceBytes = 1_048_576;
  readonly #output: TarOutput;
  readonly #options: LayerReaderOptions;
  readonly #digests: Digest[] = [];
  #current: Digester | undefined;
  #missing: number;

  constructor(output: TarOutput, options: LayerReaderOptions) {
    this.#output = output;
    this.#options = options;
    this.#missing = options.spanSizeBytes;
  }

  push(bytes: Uint8Array): void {
    this.#output.push(bytes);
    for (let at = 0; at < bytes.length; ) {
      const piece = bytes.subarray(at, at + this.#missing);
      this.#current ??= this.#startSpan();
      this.#current.update(piece);
      this.#missing -= piece.length;
      at += piece.length;
      if (this.#missing === 0) this.finish();
    }
  }

  finish(): void {
    if (this.#current !== undefined) this.#digests.push(this.#current.digest());
    this.#current = undefined;
    this.#missing = this.#options.spanSizeBytes;
  }

  layout(sizes: LayerSizes): SpanLayout {
    const { spanSizeBytes } = this.#options;
    return {
      compression: "none",
      spanSizeBytes,
      spans: gridSpans(spanSizeBytes, sizes, this.#digests),
      checkpoints: [],
    };
  }

  [Symbol.dispose](): void {
    this.#current = undefined;
  }

  #startSpan(): Digester {
    const { maxSpans } = this.#options.limits;
    if (this.#digests.length < maxSpans) return new Digester();
    throw new AppError(
      "resource_exhausted",
      `Cannot index the layer: it has over ${maxSpans} spans, want at most so many: a larger span size gives fewer`,
    );
  }
}
