import type { Authorization, Authorizer, AuthScope } from "./authorizer.ts";
import { headerValue } from "./headers.ts";
import type { WireResponse } from "./transport.ts";

/** A 403 of a cached login may mean only that it has expired (ECR does so); of a fresh one it is final. */
export function isRefusal(status: number, authorization: Authorization | undefined): boolean {
  return status === 401 || (status === 403 && authorization?.wasCached === true);
}

/** The login that an answer asks for, as {@link Authorizer.renew}; if that fails the answer is ended. */
export async function renewedLogin(
  auth: Authorizer,
  answer: WireResponse,
  { scope, ...options }: { readonly scope: AuthScope } & Parameters<Authorizer["renew"]>[2],
): Promise<Authorization | undefined> {
  try {
    return await auth.renew(headerValue(answer.headers, "www-authenticate"), scope, options);
  } catch (error) {
    answer.body.destroy();
    throw error;
  }
}
