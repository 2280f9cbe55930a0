import { type Digest, Digester } from "@soci-ts/core";
import type { Checkpoint } from "@soci-ts/gzip";

/**
 * Computes the digests of gzip spans while the blob streams by. A span goes from the byte that its checkpoint lies in to the
 * byte that the next one lies in, that byte included: so both spans take it in.
 */
export class SpanDigester {
  readonly #digests: Digest[] = [];
  #cuts: Checkpoint[] = [];
  #current: Digester | undefined;
  /** Blob offset of the next piece. */
  #offset = 0;
  /** The byte before it, which a checkpoint at its very start may lie in. */
  readonly #lastByte = new Uint8Array(1);

  /** Notes a checkpoint in the piece that is pushed next, or at its start; in order. */
  cut(checkpoint: Checkpoint): void {
    this.#cuts.push(checkpoint);
  }

  /** Takes the next bytes of the blob; they may be reused afterwards. */
  push(bytes: Uint8Array): void {
    let at = 0;
    for (const { compressedOffset, bits } of this.#cuts) {
      const cutAt = compressedOffset - this.#offset;
      this.#current?.update(bytes.subarray(at, cutAt));
      this.#endSpan();
      this.#current = new Digester();
      if (bits !== 0) {
        this.#current.update(cutAt === 0 ? this.#lastByte : bytes.subarray(cutAt - 1, cutAt));
      }
      at = cutAt;
    }
    this.#cuts = [];
    this.#current?.update(bytes.subarray(at));
    this.#lastByte[0] = bytes.at(-1) ?? 0;
    this.#offset += bytes.length;
  }

  /** The digests of all spans; the last one ends with the blob. */
  finish(): Digest[] {
    this.#endSpan();
    return this.#digests;
  }

  #endSpan(): void {
    if (this.#current !== undefined) this.#digests.push(this.#current.digest());
    this.#current = undefined;
  }
}
