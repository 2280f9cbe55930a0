import type { LayerHasher } from "./layer-hasher.ts";
import type { CheckpointPlace } from "./spans.ts";

const NOTHING = new Uint8Array(0);

/**
 * Tells a hasher where the gzip spans of a blob lie while it streams by. A span goes from the byte that its checkpoint lies in to
 * the byte that the next one lies in, that byte included: so both spans take it in.
 */
export class SpanCutter {
  readonly #hasher: LayerHasher;
  #cuts: CheckpointPlace[] = [];
  /** Blob offset of the next piece. */
  #offset = 0;
  /** The byte before it, which a checkpoint at its very start may lie in. */
  readonly #lastByte = new Uint8Array(1);

  constructor(hasher: LayerHasher) {
    this.#hasher = hasher;
  }

  /** Notes a checkpoint in the piece that is pushed next, or at its start; in order. */
  cut(checkpoint: CheckpointPlace): void {
    this.#cuts.push(checkpoint);
  }

  /** Takes the next bytes of the blob; they may be reused afterwards. */
  push(bytes: Uint8Array): void {
    let at = 0;
    for (const { compressedOffset, bits } of this.#cuts) {
      const cutAt = compressedOffset - this.#offset;
      if (cutAt > at) this.#hasher.blob(bytes.subarray(at, cutAt));
      const shared = cutAt === 0 ? this.#lastByte : bytes.subarray(cutAt - 1, cutAt);
      this.#hasher.cut(bits === 0 ? NOTHING : shared);
      at = cutAt;
    }
    this.#cuts = [];
    if (at < bytes.length) this.#hasher.blob(bytes.subarray(at));
    this.#lastByte[0] = bytes.at(-1) ?? 0;
    this.#offset += bytes.length;
  }
}
