import type { IoOptions } from "@soci-ts/core";

/** What proves to a registry who asks. */
export type Credential =
  | { readonly kind: "basic"; readonly username: string; readonly password: string }
  /** An OAuth2 refresh token (`identitytoken` in Docker's files), to be exchanged at the token server. */
  | { readonly kind: "identity"; readonly refreshToken: string }
  /** A token that the registry takes as it is (`registrytoken` in Docker's files). */
  | { readonly kind: "bearer"; readonly token: string };

/** What is asked for. */
export interface FindCredentialOptions extends IoOptions {
  /** What the registry has refused just now: a source that has another one gives that. */
  readonly refused?: readonly Credential[] | undefined;
}

/** Where credentials come from. Asked again whenever a token is needed, so rotated ones are seen. */
export interface CredentialSource {
  /**
   * The credential for a repository (or, without one, for the registry as a whole); undefined if there is none.
   * @param registry - as in a reference: `docker.io`, `localhost:5000`.
   */
  find(
    registry: string,
    repository: string | undefined,
    options?: FindCredentialOptions,
  ): Promise<Credential | undefined>;
}

/** The source that knows none. */
export const noCredentials: CredentialSource = { find: async () => undefined };

/** True if both prove the same. */
export function isSameCredential(a: Credential, b: Credential): boolean {
  if (a.kind === "basic") {
    return b.kind === "basic" && a.username === b.username && a.password === b.password;
  }
  if (a.kind === "identity") return b.kind === "identity" && a.refreshToken === b.refreshToken;
  return b.kind === "bearer" && a.token === b.token;
}

/** True if `credential` is one of those that were refused. */
export function isRefused(
  credential: Credential,
  options: FindCredentialOptions | undefined,
): boolean {
  return options?.refused?.some((other) => isSameCredential(other, credential)) ?? false;
}
