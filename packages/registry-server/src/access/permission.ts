import type { Identity } from "./identity.ts";
import type { AccessRules, Action } from "./rules.ts";
import { isGranted } from "./scopes.ts";

/**
 * Whether somebody may do something. What is refused differs in what would help: logging in (`login`), a token with more in it
 * (`token`), or nothing that this user can get (`denied`). It follows from rules and names alone, never from what exists.
 */
export type Permission = "allowed" | "login" | "token" | "denied";

/** What `identity` may do by the rules. */
export function permissionOf(
  identity: Identity,
  rules: AccessRules,
  { repository, action }: { readonly repository: string; readonly action: Action },
): Permission {
  if (identity.kind === "issuer_token") {
    return isGranted(identity.grants, repository, action) ? "allowed" : "token";
  }
  const user = identity.kind === "none" ? undefined : identity.user;
  if (!rules.allows(user, repository, action)) return user === undefined ? "login" : "denied";
  if (identity.kind === "own_token" && !isGranted(identity.grants, repository, action)) {
    return "token";
  }
  return "allowed";
}
