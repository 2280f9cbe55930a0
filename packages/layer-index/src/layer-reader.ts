import type { Digest } from "@soci-ts/core";
import type { Checkpoint, EngineName } from "@soci-ts/gzip";
import type { LayerHasher } from "./layer-hasher.ts";
import type { LayerIndexLimits } from "./limits.ts";
import type { LayerSizes } from "./spans.ts";
import type { LayerIndex } from "./types.ts";

/** How a layer is read. */
export interface LayerReaderOptions {
  readonly spanSizeBytes: number;
  readonly engine: EngineName | undefined;
  readonly emptyStart: "refuse" | "merge";
  readonly limits: LayerIndexLimits;
  readonly hasher: LayerHasher;
  /** Takes the checkpoints; without it the layout has them. */
  readonly onCheckpoint: ((checkpoint: Checkpoint) => void) | undefined;
}

/** What an index says of how to read a layer at an offset. */
export type SpanLayout = Pick<
  LayerIndex,
  "compression" | "spanSizeBytes" | "spans" | "checkpoints"
>;

/** One kind of compression: takes a blob's bytes in order and gives the uncompressed ones to a
 * `TarOutput`, those of the blob to the hasher. */
export interface LayerReader extends Disposable {
  /** Most bytes that `push` should be given at once, so that it returns soon. */
  readonly pieceBytes: number;
  /** Takes the next bytes of the blob; they may be reused afterwards. */
  push(bytes: Uint8Array): void;
  /** Checks that the blob is whole; all output has been given when it returns. */
  finish(): void;
  /**
   * After `finish`: the spans, or undefined for a kind that can't be read at an offset.
   * @param spanDigests - what the hasher computed of the spans that were cut.
   */
  layout(sizes: LayerSizes, spanDigests: readonly Digest[]): SpanLayout | undefined;
}
