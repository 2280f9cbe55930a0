import { createHash, type Hash } from "node:crypto";
import { AppError, DigestMismatchError } from "./errors.ts";

/** A content digest in the form `algorithm:hex`, checked by {@link parseDigest} (image-spec v1.1.1, descriptor.md §Digests). */
export type Digest = string & { readonly __digest: true };

/** The algorithms that the image specification registers and this project computes. */
export type DigestAlgorithm = "sha256" | "sha512";

const HEX_LENGTH: Readonly<Record<DigestAlgorithm, number>> = { sha256: 64, sha512: 128 };
const LONGEST_DIGEST = "sha512:".length + HEX_LENGTH.sha512;

/** True if `text` is a well-formed sha256 or sha512 digest. */
export function isDigest(text: string): text is Digest {
  if (text.length > LONGEST_DIGEST) return false;
  const match = /^(sha256|sha512):([0-9a-f]+)$/.exec(text);
  return match !== null && match[2]?.length === HEX_LENGTH[match[1] as DigestAlgorithm];
}

/**
 * The digest that `text` spells.
 * @throws AppError `invalid_argument` if it is not one.
 */
export function parseDigest(text: string): Digest {
  if (isDigest(text)) return text;
  throw new AppError(
    "invalid_argument",
    `Cannot parse digest ${JSON.stringify(text.slice(0, 160))}: want sha256:<64 hex> or sha512:<128 hex>, lower case`,
  );
}

/** The part before the colon. */
export function digestAlgorithm(digest: Digest): DigestAlgorithm {
  return digest.slice(0, digest.indexOf(":")) as DigestAlgorithm;
}

/** The part after the colon. */
export function digestHex(digest: Digest): string {
  return digest.slice(digest.indexOf(":") + 1);
}

/** The sha256 digest of bytes that are all at hand. */
export function sha256(bytes: Uint8Array): Digest {
  return `sha256:${createHash("sha256").update(bytes).digest("hex")}` as Digest;
}

/** The digest of `bytes` by the named algorithm. */
export function digestOf(bytes: Uint8Array, algorithm: DigestAlgorithm): Digest {
  return `${algorithm}:${createHash(algorithm).update(bytes).digest("hex")}` as Digest;
}

/** A digest computed piece by piece. Not usable after {@link Digester.digest}. */
export class Digester {
  readonly #algorithm: DigestAlgorithm;
  readonly #hash: Hash;

  constructor(algorithm: DigestAlgorithm = "sha256") {
    this.#algorithm = algorithm;
    this.#hash = createHash(algorithm);
  }

  /** Takes in more bytes; they may be reused by the caller afterwards. */
  update(bytes: Uint8Array): void {
    this.#hash.update(bytes);
  }

  /** Ends the computation. */
  digest(): Digest {
    return `${this.#algorithm}:${this.#hash.digest("hex")}` as Digest;
  }
}

/**
 * Checks that `bytes` have the digest `expected`.
 * @param what - names the content in the error, for example `manifest`.
 * @throws DigestMismatchError if they do not.
 */
export function verifyDigest(what: string, bytes: Uint8Array, expected: Digest): void {
  const actual = digestOf(bytes, digestAlgorithm(expected));
  if (actual !== expected) throw new DigestMismatchError(what, expected, actual);
}
