import { type Claims, readClaims } from "./claims.ts";
import { type IssuerKey, isSignedByIssuer } from "./issuer-keys.ts";
import { type DecodedToken, decodeToken } from "./jwt.ts";
import type { Passwords } from "./passwords.ts";
import { unauthorized } from "./refusals.ts";
import type { OwnTokens } from "./tokens.ts";
import type { TokenIdentity, VerifiedTokens } from "./verified-tokens.ts";
import type { WatchedFile } from "./watched-file.ts";

const ISSUER_LEEWAY_MS = 60_000;

/** Who asks, verified. `own_token` was issued here: its user and the rules count too; `issuer_token` says by itself what is allowed. */
export type Identity =
  | { readonly kind: "none" }
  | { readonly kind: "password"; readonly user: string }
  | TokenIdentity;

/** Name and password of an `Authorization: Basic` header. */
export interface Credentials {
  readonly user: string;
  readonly password: string;
}

/** A token server elsewhere whose tokens count here. */
export interface Issuer {
  /** Its `iss`. */
  readonly name: string;
  /** The `aud` that a token for this service has. */
  readonly service: string;
  readonly keys: WatchedFile<readonly IssuerKey[]>;
}

/** What identities can be verified with. */
export interface Verifiers {
  readonly passwords: Passwords | undefined;
  readonly verified: VerifiedTokens;
  readonly tokens: OwnTokens | undefined;
  readonly issuer: Issuer | undefined;
}

/**
 * Who sends this `Authorization` header.
 * @throws SpecError `UNAUTHORIZED` if it holds something that is not right; `TOOMANYREQUESTS` after too many wrong passwords.
 */
export async function identify(
  header: string | undefined,
  client: string,
  verifiers: Verifiers,
): Promise<Identity> {
  if (header === undefined) return { kind: "none" };
  const [scheme = "", value = ""] = header.split(/ +(.*)/s);
  switch (scheme.toLowerCase()) {
    case "basic":
      return { kind: "password", user: await checkPassword(value, client, verifiers) };
    case "bearer":
      return knownToken(value.trim(), verifiers);
    default:
      throw unauthorized("Cannot use this kind of authorization: want Bearer or Basic");
  }
}

/** The credentials of the value of a Basic header (RFC 7617); `undefined` if it is none. */
export function parseBasic(value: string): Credentials | undefined {
  const text = Buffer.from(value, "base64").toString();
  const colon = text.indexOf(":");
  if (colon < 1) return undefined;
  return { user: text.slice(0, colon), password: text.slice(colon + 1) };
}

/** The same message for everything that can be wrong: neither user names nor what is configured are told. */
async function checkPassword(
  value: string,
  client: string,
  { passwords }: Verifiers,
): Promise<string> {
  const credentials = parseBasic(value.trim());
  const isRight =
    credentials !== undefined &&
    (await passwords?.check(credentials.user, credentials.password, client)) === true;
  if (isRight) return credentials.user;
  throw unauthorized("Cannot log in: wrong user name or password");
}

/** A user who was removed is gone at once, not when his tokens expire. */
function knownToken(text: string, verifiers: Verifiers): Identity {
  const { verified, passwords } = verifiers;
  const identity = verified.find(text) ?? verifyToken(text, verifiers);
  const isGone =
    identity.kind === "own_token" &&
    identity.user !== undefined &&
    passwords?.has(identity.user) !== true;
  if (isGone) throw invalidToken();
  return identity;
}

function verifyToken(text: string, { verified, tokens, issuer }: Verifiers): TokenIdentity {
  const token = decodeToken(text);
  if (token === undefined) throw invalidToken();
  const own = tokens?.verify(token);
  const claims = own ?? (issuer && verifyForeign(token, issuer));
  if (claims === undefined) throw invalidToken();
  const { user, grants, expiresMs } = claims;
  const kind = own === undefined ? "issuer_token" : "own_token";
  return verified.remember(text, { kind, user, grants }, expiresMs);
}

function verifyForeign(token: DecodedToken, { name, service, keys }: Issuer): Claims | undefined {
  if (!isSignedByIssuer(token, keys.value)) return undefined;
  const wanted = { issuer: name, audience: service, leewayMs: ISSUER_LEEWAY_MS };
  return readClaims(token.payload, wanted, Date.now());
}

function invalidToken(): Error {
  return unauthorized("Cannot use this token: it is not valid, or no longer");
}
