import { type Digest, type DigestAlgorithm, Digester } from "@soci-ts/core/digest";

/** All digests that one pass over a layer gives. */
export interface LayerDigests {
  /** Digest of the blob. */
  readonly layerDigest: Digest;
  /** Digest of the uncompressed content. */
  readonly diffId: Digest;
  /** A sha256 for each span, in order. */
  readonly spans: readonly Digest[];
}

/** By which algorithm the two sides of a layer are hashed; default sha256. */
export interface LayerHashOptions {
  readonly blobAlgorithm?: DigestAlgorithm | undefined;
  readonly contentAlgorithm?: DigestAlgorithm | undefined;
}

/** Computes the digests of a layer while its bytes go by. Bytes that a method is given may be reused as soon as it returns. */
export class LayerHasher {
  readonly #blob: Digester;
  readonly #content: Digester;
  readonly #spans: Digest[] = [];
  #span: Digester | undefined;

  constructor({ blobAlgorithm, contentAlgorithm }: LayerHashOptions = {}) {
    this.#blob = new Digester(blobAlgorithm);
    this.#content = new Digester(contentAlgorithm);
  }

  /** Takes the next bytes of the blob; once there was a cut, they belong to the current span too. */
  blob(bytes: Uint8Array): void {
    this.#blob.update(bytes);
    this.#span?.update(bytes);
  }

  /**
   * Ends the current span, if there is one, and begins the next.
   * @param shared - the byte before the border where that lies inside a byte, which then belongs to both spans; else empty.
   */
  cut(shared: Uint8Array): void {
    this.#endSpan();
    this.#span = new Digester();
    this.#span.update(shared);
  }

  /** Takes the next uncompressed bytes. */
  content(bytes: Uint8Array): void {
    this.#content.update(bytes);
  }

  /** Ends the last span. The hasher is not usable afterwards. */
  finish(): LayerDigests {
    this.#endSpan();
    return {
      layerDigest: this.#blob.digest(),
      diffId: this.#content.digest(),
      spans: this.#spans,
    };
  }

  #endSpan(): void {
    if (this.#span !== undefined) this.#spans.push(this.#span.digest());
    this.#span = undefined;
  }
}
