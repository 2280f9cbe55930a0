import { createPublicKey, type JsonWebKey, type KeyObject, verify } from "node:crypto";
import { AppError } from "@soci-ts/core";
import { type DecodedToken, isObject } from "./jwt.ts";

const MAX_KEYS = 64;
const LEAST_RSA_BITS = 2048;

/** A public key of a token server. */
export interface IssuerKey {
  /** `undefined` where the file gives none (PEM): then it is tried for every token. */
  readonly id: string | undefined;
  readonly key: KeyObject;
}

/** How signatures of each algorithm are verified, and which keys may make them (RFC 7518 §3.1, RFC 8037 §3.1). */
const ALGORITHMS: Readonly<Record<string, { readonly hash: string | null; readonly key: string }>> =
  {
    RS256: { hash: "sha256", key: "rsa" },
    RS384: { hash: "sha384", key: "rsa" },
    RS512: { hash: "sha512", key: "rsa" },
    ES256: { hash: "sha256", key: "prime256v1" },
    ES384: { hash: "sha384", key: "secp384r1" },
    ES512: { hash: "sha512", key: "secp521r1" },
    EdDSA: { hash: null, key: "ed25519" },
  };

/**
 * The keys of a file: a JWK set (RFC 7517), or public keys and certificates in PEM.
 * @throws AppError `invalid_argument` if there is none, or one that can't be used.
 */
export function parseIssuerKeys(text: string): readonly IssuerKey[] {
  try {
    const keys = text.trimStart().startsWith("{") ? fromJwks(text) : fromPem(text);
    if (keys.length > 0 && keys.length <= MAX_KEYS) return keys;
  } catch (cause) {
    throw unusable(cause);
  }
  throw unusable();
}

/** True if one of the keys made the token's signature. Only public-key algorithms count: a public key is no secret to sign with. */
export function isSignedByIssuer(token: DecodedToken, keys: readonly IssuerKey[]): boolean {
  const { alg, kid } = token.header;
  const algorithm =
    typeof alg === "string" && Object.hasOwn(ALGORITHMS, alg) ? ALGORITHMS[alg] : undefined;
  if (algorithm === undefined) return false;
  const data = Buffer.from(token.signed);
  return keys.some(
    ({ id, key }) =>
      (id === undefined || kid === undefined || id === kid) &&
      kindOf(key) === algorithm.key &&
      verify(algorithm.hash, data, { key, dsaEncoding: "ieee-p1363" }, token.signature),
  );
}

function fromJwks(text: string): IssuerKey[] {
  const document: unknown = JSON.parse(text);
  const listed: unknown = isObject(document) ? document["keys"] : undefined;
  const keys: unknown[] = Array.isArray(listed) ? listed : [];
  return keys.filter(isObject).map((jwk) => {
    const key = createPublicKey({ key: jwk as JsonWebKey, format: "jwk" });
    return { id: typeof jwk["kid"] === "string" ? jwk["kid"] : undefined, key: strong(key) };
  });
}

function fromPem(text: string): IssuerKey[] {
  const blocks = text.match(/-----BEGIN ([A-Z ]+)-----[^-]+-----END \1-----/g) ?? [];
  return blocks.map((block) => ({ id: undefined, key: strong(createPublicKey(block)) }));
}

function strong(key: KeyObject): KeyObject {
  const bits = key.asymmetricKeyDetails?.modulusLength;
  if (bits !== undefined && bits < LEAST_RSA_BITS) {
    throw new TypeError(`a key has ${bits} bits, want at least ${LEAST_RSA_BITS}`);
  }
  return key;
}

function kindOf(key: KeyObject): string | undefined {
  return key.asymmetricKeyDetails?.namedCurve ?? key.asymmetricKeyType;
}

function unusable(cause?: unknown): AppError {
  const why = cause instanceof Error ? `: ${cause.message}` : "";
  return new AppError(
    "invalid_argument",
    `Cannot use the token server's keys${why}; want a JWK set, or public keys or certificates in PEM`,
    { cause },
  );
}
