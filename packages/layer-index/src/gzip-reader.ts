import type { Digest } from "@soci-ts/core";
import { type Checkpoint, createGzipScan, type GzipScan } from "@soci-ts/gzip";
import type { LayerReader, LayerReaderOptions, SpanLayout } from "./layer-reader.ts";
import { SpanCutter } from "./span-cutter.ts";
import { type CheckpointPlace, gzipSpans, type LayerSizes } from "./spans.ts";
import type { TarOutput } from "./tar-output.ts";

/** Reads gzip layers, taking checkpoints on the way. */
export class GzipReader implements LayerReader {
  // Even if it inflates to a thousand times as much, that is a tenth of a second's work.
  readonly pieceBytes = 65_536;
  readonly #spanSizeBytes: number;
  readonly #scan: GzipScan;
  readonly #cutter: SpanCutter;
  readonly #checkpoints: Checkpoint[] = [];
  readonly #places: CheckpointPlace[] = [];

  constructor(output: TarOutput, options: LayerReaderOptions) {
    const { onCheckpoint = (checkpoint) => this.#checkpoints.push(checkpoint) } = options;
    this.#spanSizeBytes = options.spanSizeBytes;
    this.#cutter = new SpanCutter(options.hasher);
    this.#scan = createGzipScan({
      spanSizeBytes: options.spanSizeBytes,
      emptyStart: options.emptyStart,
      maxCheckpoints: options.limits.maxSpans,
      onOutput: (bytes) => output.push(bytes),
      keepsCheckpoints: false,
      onCheckpoint: (checkpoint) => {
        const { compressedOffset, uncompressedOffset, bits } = checkpoint;
        this.#places.push({ compressedOffset, uncompressedOffset, bits });
        onCheckpoint(checkpoint);
        this.#cutter.cut(checkpoint);
      },
      ...(options.engine === undefined ? {} : { engine: options.engine }),
    });
  }

  push(bytes: Uint8Array): void {
    this.#scan.push(bytes);
    this.#cutter.push(bytes);
  }

  finish(): void {
    this.#scan.finish();
  }

  layout(sizes: LayerSizes, spanDigests: readonly Digest[]): SpanLayout {
    return {
      compression: "gzip",
      spanSizeBytes: this.#spanSizeBytes,
      spans: gzipSpans(this.#places, sizes, spanDigests),
      checkpoints: this.#checkpoints,
    };
  }

  [Symbol.dispose](): void {
    this.#scan[Symbol.dispose]();
  }
}
