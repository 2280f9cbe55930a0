import { createHmac, timingSafeEqual } from "node:crypto";

/** Longest token in characters; longer ones do not fit Node's limit for headers anyway. */
const MAX_TOKEN_LENGTH = 16_384;
const PART = /^[A-Za-z0-9_-]+$/;

type JsonObject = Readonly<Record<string, unknown>>;

/** A token's parts (RFC 7515 compact serialization), nothing of it verified. */
export interface DecodedToken {
  readonly header: JsonObject;
  readonly payload: JsonObject;
  /** What the signature is over. */
  readonly signed: string;
  readonly signature: Uint8Array;
}

/** The parts of a token; `undefined` if it is none. */
export function decodeToken(token: string): DecodedToken | undefined {
  const parts = token.length > MAX_TOKEN_LENGTH ? [] : token.split(".");
  const [head = "", body = "", signature = ""] = parts;
  if (parts.length !== 3 || !parts.every((part) => PART.test(part))) return undefined;
  const header = decodeJson(head);
  const payload = decodeJson(body);
  if (header === undefined || payload === undefined) return undefined;
  return {
    header,
    payload,
    signed: `${head}.${body}`,
    signature: Buffer.from(signature, "base64url"),
  };
}

/** A token signed with HMAC-SHA256 (RFC 7518 §3.2); `keyId` becomes its `kid`. */
export function signToken(payload: JsonObject, key: Uint8Array, keyId: string): string {
  const header = { alg: "HS256", typ: "JWT", kid: keyId };
  const signed = `${encodeJson(header)}.${encodeJson(payload)}`;
  return `${signed}.${hmac(signed, key).toString("base64url")}`;
}

/** True if the token was signed with that key by {@link signToken}; takes the same time wherever signatures differ. */
export function isSignedWith(
  { header, signed, signature }: DecodedToken,
  key: Uint8Array,
): boolean {
  if (header["alg"] !== "HS256") return false;
  const expected = hmac(signed, key);
  return signature.length === expected.length && timingSafeEqual(signature, expected);
}

function hmac(text: string, key: Uint8Array): Buffer {
  return createHmac("sha256", key).update(text).digest();
}

function encodeJson(value: JsonObject): string {
  return Buffer.from(JSON.stringify(value)).toString("base64url");
}

function decodeJson(part: string): JsonObject | undefined {
  try {
    const value: unknown = JSON.parse(Buffer.from(part, "base64url").toString());
    return isObject(value) ? value : undefined;
  } catch {
    return undefined; // no JSON, no token
  }
}

/** True for a JSON object. */
export function isObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
