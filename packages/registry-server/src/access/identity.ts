import type { Claims } from "./claims.ts";
import { readClaims } from "./claims.ts";
import { type IssuerKey, isSignedByIssuer } from "./issuer-keys.ts";
import { decodeToken } from "./jwt.ts";
import type { Passwords } from "./passwords.ts";
import { unauthorized } from "./refusals.ts";
import type { Grants } from "./scopes.ts";
import type { OwnTokens } from "./tokens.ts";
import type { WatchedFile } from "./watched-file.ts";

const ISSUER_LEEWAY_MS = 60_000;

/** Who asks, verified. `own_token` was issued here: its user and the rules count too; `issuer_token` says by itself what is allowed. */
export type Identity =
  | { readonly kind: "none" }
  | { readonly kind: "password"; readonly user: string }
  | {
      readonly kind: "own_token" | "issuer_token";
      readonly user: string | undefined;
      readonly grants: Grants;
    };

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
      return verifyToken(value.trim(), verifiers);
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

function verifyToken(text: string, { passwords, tokens, issuer }: Verifiers): Identity {
  const token = decodeToken(text);
  if (token === undefined) throw invalidToken();
  const own = tokens?.verify(token);
  // A user who was removed is gone at once, not when his tokens expire.
  if (own !== undefined && (own.user === undefined || passwords?.has(own.user) === true)) {
    return { kind: "own_token", ...own };
  }
  let claims: Claims | undefined;
  if (issuer !== undefined && isSignedByIssuer(token, issuer.keys.value)) {
    const { name, service } = issuer;
    const wanted = { issuer: name, audience: service, leewayMs: ISSUER_LEEWAY_MS };
    claims = readClaims(token.payload, wanted, Date.now());
  }
  if (claims === undefined) throw invalidToken();
  return { kind: "issuer_token", ...claims };
}

function invalidToken(): Error {
  return unauthorized("Cannot use this token: it is not valid, or no longer");
}
