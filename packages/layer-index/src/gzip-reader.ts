import { type Checkpoint, createGzipScan, type GzipScan } from "@soci-ts/gzip";
import type { LayerReader, LayerReaderOptions, SpanLayout } from "./layer-reader.ts";
import { SpanDigester } from "./span-digester.ts";
import { gzipSpans, type LayerSizes } from "./spans.ts";
import type { TarOutput } from "./tar-output.ts";

/** Reads gzip layers, taking checkpoints on the way. */
export class GzipReader implements LayerReader {
  // Even if it inflates to a thousand times as much, that is a tenth of a second's work.
  readonly pieceBytes = 65_536;
  readonly #spanSizeBytes: number;
  readonly #scan: GzipScan;
  readonly #digester = new SpanDigester();
  readonly #checkpoints: Checkpoint[] = [];

  constructor(output: TarOutput, options: LayerReaderOptions) {
    this.#spanSizeBytes = options.spanSizeBytes;
    this.#scan = createGzipScan({
      spanSizeBytes: options.spanSizeBytes,
      emptyStart: options.emptyStart,
      maxCheckpoints: options.limits.maxSpans,
      onOutput: (bytes) => output.push(bytes),
      onCheckpoint: (checkpoint) => {
        this.#checkpoints.push(checkpoint);
        this.#digester.cut(checkpoint);
      },
      ...(options.engine === undefined ? {} : { engine: options.engine }),
    });
  }

  push(bytes: Uint8Array): void {
    this.#scan.push(bytes);
    this.#digester.push(bytes);
  }

  finish(): void {
    this.#scan.finish();
  }

  layout(sizes: LayerSizes): SpanLayout {
    return {
      compression: "gzip",
      spanSizeBytes: this.#spanSizeBytes,
      spans: gzipSpans(this.#checkpoints, sizes, this.#digester.finish()),
      checkpoints: this.#checkpoints,
    };
  }

  [Symbol.dispose](): void {
    this.#scan[Symbol.dispose]();
  }
}
