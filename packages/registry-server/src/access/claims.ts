import { isObject } from "./jwt.ts";
import type { Grants } from "./scopes.ts";

/** What a token has to say of itself to count here. */
export interface ClaimsWanted {
  readonly issuer: string;
  readonly audience: string;
  /** By how much clocks may differ. */
  readonly leewayMs: number;
}

/** What a verified token says. */
export interface Claims {
  /** Who it was given to; `undefined` for nobody in particular. */
  readonly user: string | undefined;
  readonly grants: Grants;
  readonly expiresMs: number;
}

/**
 * The claims of a token whose signature was verified (RFC 7519 §4.1, with the `access` claim of the docker token protocol);
 * `undefined` if it is of another issuer, for another audience, expired, or not valid yet.
 */
export function readClaims(
  payload: Readonly<Record<string, unknown>>,
  wanted: ClaimsWanted,
  nowMs: number,
): Claims | undefined {
  const { iss, aud, exp, nbf, sub, access } = payload;
  const audiences: unknown[] = Array.isArray(aud) ? aud : [aud];
  if (iss !== wanted.issuer || !audiences.includes(wanted.audience)) return undefined;
  // A token that never expires could not be taken back.
  if (typeof exp !== "number" || exp * 1000 + wanted.leewayMs <= nowMs) return undefined;
  if (nbf !== undefined && (typeof nbf !== "number" || nbf * 1000 - wanted.leewayMs > nowMs)) {
    return undefined;
  }
  const user = typeof sub === "string" && sub !== "" ? sub : undefined;
  return { user, grants: readAccess(access), expiresMs: exp * 1000 };
}

/** The `access` claim: entries that are no actions on a repository are passed over. */
function readAccess(access: unknown): Grants {
  const grants = new Map<string, Set<string>>();
  for (const entry of Array.isArray(access) ? access : []) {
    if (!isObject(entry) || entry["type"] !== "repository") continue;
    const { name, actions } = entry;
    if (typeof name !== "string" || !Array.isArray(actions)) continue;
    const known = grants.get(name) ?? new Set();
    for (const action of actions) if (typeof action === "string") known.add(action);
    grants.set(name, known);
  }
  return grants;
}
