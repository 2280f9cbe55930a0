import { createHash } from "node:crypto";
import type { RawRequest } from "@soci-ts/registry-client";
import { headerOf, type RegistryRequest, splitTarget } from "../http.ts";
import { requestHeaders } from "./headers.ts";
import type { Upstream } from "./upstream.ts";

/** One request on its way through the companion. */
export interface Visit {
  readonly request: RegistryRequest;
  readonly upstream: Upstream;
  /** As the upstream calls it. */
  readonly repository: string;
  /** The upstream's name, if the client gave it. */
  readonly ns: string | null;
  /** Without `ns`. */
  readonly query: URLSearchParams;
  /** Path and query for the upstream. */
  readonly target: string;
}

/** A request for `repository` of `upstream`. */
export function visitOf(request: RegistryRequest, upstream: Upstream, repository: string): Visit {
  const { path, query } = splitTarget(request.url);
  // Others must stay exactly as they are written: an upload's state may be signed.
  const kept = request.url
    .slice(path.length + 1)
    .split("&")
    .filter((part) => part !== "" && !/^ns(=|$)/.test(part));
  const ns = query.get("ns");
  query.delete("ns");
  const target = kept.length === 0 ? path : `${path}?${kept.join("&")}`;
  return { request, upstream, repository, ns, query, target };
}

/** True for requests that have no content in their answer or change nothing. */
export function isRead({ request }: Visit): boolean {
  return request.method === "GET" || request.method === "HEAD";
}

/** Who asks, as far as the upstream can tell; "" for nobody in particular. */
export function visitorOf({ request, upstream }: Visit): string {
  const login = upstream.passesLogin ? headerOf(request, "authorization") : undefined;
  return login === undefined ? "" : createHash("sha256").update(login).digest("base64");
}

/** Clients with the same key may read the same of a repository. */
export function readerKey(visit: Visit): string {
  return [visit.upstream.name, visit.repository, visitorOf(visit)].join("\n");
}

/** What is to be sent to the upstream for a visit; the fields of `change` instead of its own. */
export function rawRequest(visit: Visit, change: Partial<RawRequest> = {}): RawRequest {
  const { request, upstream, repository, target } = visit;
  const actions = isRead(visit) ? "pull" : request.method === "DELETE" ? "delete" : "pull,push";
  return {
    method: methodOf(request.method),
    target,
    headers: requestHeaders(request, upstream.passesLogin),
    scope:
      repository === ""
        ? { scopes: [] }
        : { repository, scopes: [`repository:${repository}:${actions}`] },
    ...change,
  };
}

/** A request of ours for the visit's repository, with the client's login where that is passed on. */
export function pullRequest(visit: Visit, target: string, accept = "*/*"): RawRequest {
  const { upstream, repository, request } = visit;
  const login = requestHeaders(request, upstream.passesLogin)["authorization"];
  return {
    ...{ method: "GET", target },
    headers: {
      "accept-encoding": "identity",
      ...(login !== undefined && { authorization: login }),
      accept,
    },
    scope: { repository, scopes: [`repository:${repository}:pull`] },
  };
}

const CONDITIONS: ReadonlySet<string> = new Set([
  "if-match",
  "if-modified-since",
  "if-none-match",
  "if-range",
  "if-unmodified-since",
  "range",
]);

/** The headers of a request for all of something, whatever the client has of it. */
export function unconditional(headers: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).filter(([name]) => !CONDITIONS.has(name)));
}

/** Node's server lets only known methods through. */
function methodOf(method: string): RawRequest["method"] {
  return method as RawRequest["method"];
}
