import type { Grants } from "./scopes.ts";

/** So long what was verified is believed without looking at the signature again (1 min): an issuer's key may be taken back. */
const REMEMBER_MS = 60_000;
const MAX_REMEMBERED = 1_000;

/** Who sent a token, verified. */
export interface TokenIdentity {
  readonly kind: "own_token" | "issuer_token";
  readonly user: string | undefined;
  readonly grants: Grants;
}

/** Tokens that were verified a moment ago: a pull sends the same one with each request. */
export class VerifiedTokens {
  readonly #tokens = new Map<string, { identity: TokenIdentity; untilMs: number }>();

  /** Whose token it is; `undefined` if it has to be verified (again). */
  find(token: string, nowMs: number = Date.now()): TokenIdentity | undefined {
    const found = this.#tokens.get(token);
    return found === undefined || found.untilMs <= nowMs ? undefined : found.identity;
  }

  /** Remembers a token that was verified, for a while and no longer than it is valid. Returns the identity. */
  remember(token: string, identity: TokenIdentity, expiresMs: number): TokenIdentity {
    const untilMs = Math.min(expiresMs, Date.now() + REMEMBER_MS);
    this.#tokens.delete(token);
    this.#tokens.set(token, { identity, untilMs });
    const [oldest] = this.#tokens.size > MAX_REMEMBERED ? this.#tokens.keys() : [];
    if (oldest !== undefined) this.#tokens.delete(oldest);
    return identity;
  }
}
