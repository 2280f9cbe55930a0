import { AppError } from "@soci-ts/core";
import { headerOf, type RegistryRequest, type RegistryResponse } from "../http.ts";
import { errorResponse, SpecError } from "../spec-error.ts";
import type { GuardParts } from "./guard.ts";
import { identify } from "./identity.ts";
import { clientKey, isLoopback } from "./origin.ts";
import { tooManyRequests, unauthorized } from "./refusals.ts";

/**
 * For what is neither `/v2/` nor `/token` (metrics, descriptions): lets in whoever is logged in or asks from this machine, and everybody where
 * there is no access control. The answer to others; `undefined` for those who may. Never throws.
 */
export async function refuseOutsider(
  request: RegistryRequest,
  { access, proxies, clientLimit }: GuardParts,
): Promise<RegistryResponse | undefined> {
  if (access === undefined) return undefined;
  const origin = proxies.originOf(request);
  // What a proxy passes on comes from elsewhere, also if the proxy is here and nobody said so.
  const isForwarded = headerOf(request, "x-forwarded-for") !== undefined;
  if (isLoopback(origin) && !isForwarded) return undefined;
  const client = clientKey(origin);
  try {
    const waitMs = clientLimit?.take(client) ?? 0;
    if (waitMs > 0) throw tooManyRequests("too many requests from this address", waitMs);
    const header = headerOf(request, "authorization");
    const identity = await identify(header, client, access.verifiers);
    if (identity.kind !== "none" && identity.user !== undefined) return undefined;
    throw unauthorized("Cannot show this: log in, or ask from the machine itself");
  } catch (error) {
    const realm = `Basic realm="${access.tokenService.service}", charset="UTF-8"`;
    const isUnauthorized = error instanceof SpecError && error.status === 401;
    if (isUnauthorized) return errorResponse(error.withHeaders({ "WWW-Authenticate": realm }));
    return errorResponse(AppError.from(error));
  }
}
