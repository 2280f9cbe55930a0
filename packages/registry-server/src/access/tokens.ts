import { randomUUID } from "node:crypto";
import { type Claims, readClaims } from "./claims.ts";
import { type DecodedToken, isSignedWith, signToken } from "./jwt.ts";
import type { Grants } from "./scopes.ts";
import type { TokenKeys } from "./token-keys.ts";

/** A token as it is given to a client. */
export interface IssuedToken {
  readonly token: string;
  readonly issuedMs: number;
  readonly lifetimeMs: number;
}

/** Issues and verifies the service's own tokens: only this process ever reads them, so they are signed with a shared secret. */
export class OwnTokens {
  readonly #keys: TokenKeys;
  readonly #service: string;
  readonly #lifetimeMs: number;

  constructor(keys: TokenKeys, service: string, lifetimeMs: number) {
    this.#keys = keys;
    this.#service = service;
    // Clients read whole seconds.
    this.#lifetimeMs = Math.floor(lifetimeMs / 1000) * 1000;
  }

  /** A token for a user (nobody in particular without one) that allows no more than `grants`. */
  issue(user: string | undefined, grants: Grants, nowMs: number = Date.now()): IssuedToken {
    const { id, secret } = this.#keys.newest;
    const issued = Math.floor(nowMs / 1000);
    const payload = {
      iss: this.#service,
      aud: this.#service,
      sub: user ?? "",
      iat: issued,
      nbf: issued,
      exp: issued + this.#lifetimeMs / 1000,
      jti: randomUUID(),
      access: [...grants].map(([name, actions]) => ({
        type: "repository",
        name,
        actions: [...actions],
      })),
    };
    const token = signToken(payload, secret, id);
    return { token, issuedMs: issued * 1000, lifetimeMs: this.#lifetimeMs };
  }

  /** What the token says; `undefined` if it is not ours or not valid now. */
  verify(token: DecodedToken, nowMs: number = Date.now()): Claims | undefined {
    const key = this.#keys.find(token.header["kid"]);
    if (key === undefined || !isSignedWith(token, key.secret)) return undefined;
    const wanted = { issuer: this.#service, audience: this.#service, leewayMs: 0 };
    return readClaims(token.payload, wanted, nowMs);
  }
}
