import type { DigestAlgorithm } from "@soci-ts/core";
import type { LayerDigests, LayerHasher, LayerHashOptions } from "@soci-ts/layer-index/build";
import type { ByteRing } from "./byte-ring.ts";

/**
 * What goes through the ring from the thread that inflates to the one that hashes: frames of a header (kind and length, 4 bytes each, in
 * the machine's order) and so many bytes. `begin` has the two algorithms as bytes, and forgets a layer that was not ended.
 */
export const FRAME = { begin: 1, blob: 2, cut: 3, content: 4, finish: 5 } as const;
/** Of a frame's header. */
export const FRAME_HEADER_BYTES = 8;
/** Algorithms as `begin` numbers them. */
export const FRAME_ALGORITHMS: readonly DigestAlgorithm[] = ["sha256", "sha512"];

/** The side of the thread that inflates: what is to be hashed goes into the ring; blocks while that is full. */
export class RingHasher implements LayerHasher {
  readonly #ring: ByteRing;
  readonly #answer: () => Promise<LayerDigests>;
  readonly #header = new Uint32Array(FRAME_HEADER_BYTES / 4);
  readonly #headerBytes = new Uint8Array(this.#header.buffer);

  /** @param answer - waits for what the hashing thread says after `finish`. */
  constructor(ring: ByteRing, options: LayerHashOptions, answer: () => Promise<LayerDigests>) {
    this.#ring = ring;
    this.#answer = answer;
    const numbers = [options.blobAlgorithm, options.contentAlgorithm].map((algorithm) =>
      FRAME_ALGORITHMS.indexOf(algorithm ?? "sha256"),
    );
    this.#send(FRAME.begin, Uint8Array.from(numbers));
  }

  blob(bytes: Uint8Array): void {
    this.#send(FRAME.blob, bytes);
  }

  cut(shared: Uint8Array): void {
    this.#send(FRAME.cut, shared);
  }

  content(bytes: Uint8Array): void {
    this.#send(FRAME.content, bytes);
  }

  async finish(): Promise<LayerDigests> {
    const answer = this.#answer();
    this.#send(FRAME.finish, new Uint8Array(0));
    return await answer;
  }

  #send(kind: number, bytes: Uint8Array): void {
    this.#header.set([kind, bytes.length]);
    this.#ring.write(this.#headerBytes);
    this.#ring.write(bytes);
  }
}
