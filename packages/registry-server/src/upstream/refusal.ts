import { isTrouble } from "./relay.ts";
import type { Visit } from "./visit.ts";

/** Statuses that say nothing about what the upstream can hold: who asks, or a request that must be sent otherwise. */
const NO_REFUSALS: ReadonlySet<number> = new Set([407, 412, 416, 421, 425]);

/**
 * True if the upstream will not hold what is pushed, so that it is kept here. 401 and 403 are about the client where its login
 * is passed on, and final; where the companion logs in by itself they only mean that its login may not push. 429 and 5xx
 * (except 501) pass on: the client comes again.
 */
export function isRefusal({ upstream }: Visit, status: number): boolean {
  if (status === 501) return true;
  if (status === 401 || status === 403) return !upstream.passesLogin;
  return status >= 400 && status < 500 && !isTrouble(status) && !NO_REFUSALS.has(status);
}
