import type { RegistryRequest } from "../http.ts";
import type { SpecError } from "../spec-error.ts";
import type { Need } from "./needs.ts";
import { type Origin, ownUrl } from "./origin.ts";

/** Where clients get tokens, and for what. */
export interface TokenService {
  /** The name in challenges and tokens. */
  readonly service: string;
  /** URL of another token server; without one it is `/token` of this service. */
  readonly realm: string | undefined;
  /** This service's URL as clients reach it; without one it is taken from `Host`. */
  readonly publicUrl: string | undefined;
}

/** Why a token that was sent is not enough (RFC 6750 §3.1). */
export type TokenFault = "invalid_token" | "insufficient_scope";

/** A 401 answer's `WWW-Authenticate`, by the docker token protocol: where to get a token that would do. */
export function withChallenge(
  refusal: SpecError,
  to: { readonly request: RegistryRequest; readonly origin: Origin; readonly need: Need },
  { service, realm, publicUrl }: TokenService,
  fault?: TokenFault,
): SpecError {
  const base = publicUrl?.replace(/\/+$/, "") ?? ownUrl(to.request, to.origin);
  const parameters = [
    `realm="${realm ?? `${base}/token`}"`,
    `service="${service}"`,
    ...(to.need.kind === "action" ? [`scope="${scopeOf(to.need)}"`] : []),
    ...(fault === undefined ? [] : [`error="${fault}"`]),
  ];
  return refusal.withHeaders({ "WWW-Authenticate": `Bearer ${parameters.join(",")}` });
}

/** Who pushes looks first what is there: with the same token. */
function scopeOf({ repository, action }: Extract<Need, { kind: "action" }>): string {
  return `repository:${repository}:${action === "push" ? "pull,push" : action}`;
}
