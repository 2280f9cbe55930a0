import type { RawAnswer } from "@soci-ts/registry-client";
import type { RegistryRequest } from "../http.ts";

/** What counts between two neighbours only (RFC 9110 §7.6.1), or is between the client and us. */
const DROPPED_FROM_REQUESTS: ReadonlySet<string> = new Set([
  "accept-encoding",
  "connection",
  "cookie",
  "expect",
  "forwarded",
  "host",
  "keep-alive",
  "proxy-authorization",
  "proxy-connection",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
]);

/** Likewise; `location` and `link` are made anew, as they would lead past us. */
const DROPPED_FROM_ANSWERS: ReadonlySet<string> = new Set([
  "alt-svc",
  "connection",
  "keep-alive",
  "link",
  "location",
  "proxy-authenticate",
  "set-cookie",
  "strict-transport-security",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
]);

/** The headers that go to an upstream. Content is asked for as it is: digests are of that. */
export function requestHeaders(
  { headers, method }: RegistryRequest,
  withLogin: boolean,
): Record<string, string> {
  const listed = String(headers["connection"] ?? "")
    .toLowerCase()
    .split(/[\s,]+/);
  const hasBody = method !== "GET" && method !== "HEAD" && method !== "DELETE";
  const kept: Record<string, string> = { "accept-encoding": "identity" };
  for (const [name, value] of Object.entries(headers)) {
    if (value === undefined || DROPPED_FROM_REQUESTS.has(name) || listed.includes(name)) continue;
    if (name === "authorization" && !withLogin) continue;
    if (name === "content-length" && !hasBody) continue;
    if (name.startsWith("x-forwarded-")) continue;
    kept[name] = typeof value === "string" ? value : value.join(", ");
  }
  return kept;
}

/** The headers that come back from an upstream, in canonical case. Values that no answer may have are left out. */
export function answerHeaders({ headers }: RawAnswer): Record<string, string> {
  const kept: Record<string, string> = {};
  for (const [name, value] of Object.entries(headers)) {
    if (DROPPED_FROM_ANSWERS.has(name) || !/^[\t\x20-\x7e\x80-\xff]*$/.test(value)) continue;
    kept[canonical(name)] = value;
  }
  return kept;
}

function canonical(name: string): string {
  return name.replace(/(^|-)[a-z]/g, (letters) => letters.toUpperCase());
}
