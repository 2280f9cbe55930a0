import { headerOf, type RegistryRequest, type RegistryResponse } from "../http.ts";
import type { Route } from "../route.ts";
import type { AuditEvent, AuditLog } from "./audit-log.ts";
import type { Identity } from "./identity.ts";
import type { Need } from "./needs.ts";
import type { Origin } from "./origin.ts";

/** What is found out about a request on its way through the guard. */
export interface Passage {
  readonly request: RegistryRequest;
  readonly origin: Origin;
  route?: Route;
  need?: Need;
  identity: Identity;
}

/** Where requests are recorded, and whether what only reads is too. */
export interface Auditing {
  readonly log: AuditLog;
  readonly withReads: boolean;
}

/** Records an answered request if it is worth a line: writes, refusals, and reads where they are wanted. */
export function record(passage: Passage, response: RegistryResponse, audit: Auditing): void {
  const { status } = response;
  const event = eventOf(passage, response);
  const hasAuthorization = passage.request.headers["authorization"] !== undefined;
  // The first request of a client that is about to log in is no refusal.
  const isRefused = status === 403 || status === 429 || (status === 401 && hasAuthorization);
  if (isRefused) audit.log.writeRefusal(event);
  else if (status === 401 ? audit.withReads : audit.withReads || isWrite(event)) {
    audit.log.write(event);
  }
}

function isWrite({ action }: AuditEvent): boolean {
  return action === "push" || action === "delete";
}

function eventOf(
  { request, origin, identity, route, need }: Passage,
  { status, headers }: RegistryResponse,
): AuditEvent {
  return {
    client: origin.address,
    user: (identity.kind === "none" ? undefined : identity.user) ?? null,
    action: need === undefined ? "other" : need.kind === "login" ? "ping" : need.action,
    method: request.method,
    repository: need?.kind === "action" ? need.repository : undefined,
    target: route && targetOf(route),
    digest: headers["Docker-Content-Digest"],
    status,
    userAgent: headerOf(request, "user-agent"),
  };
}

function targetOf(route: Route): string | undefined {
  switch (route.kind) {
    case "blob":
      return route.digest;
    case "manifest": {
      const { reference } = route;
      if (reference.kind === "tag") return reference.tag;
      return reference.kind === "digest" ? reference.digest : reference.text;
    }
    case "upload":
      return route.id;
    case "referrers":
      return route.subject;
    case "base":
    case "tags":
    case "uploads":
      return undefined;
  }
}
