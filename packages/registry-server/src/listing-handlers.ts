import type { Digest } from "@soci-ts/core";
import { MEDIA_TYPE_OCI_INDEX } from "@soci-ts/oci";
import type { ReferrerRow } from "./catalogue/listings.ts";
import type { Call } from "./context.ts";
import { bytesResponse, jsonResponse, type RegistryResponse } from "./http.ts";
import { MAX_TAGS_PER_PAGE } from "./limits.ts";
import { artifactTypeFilter, leadingPage } from "./referrers-page.ts";
import { shown } from "./route.ts";
import { methodNotAllowed, SpecError } from "./spec-error.ts";

/** `/v2/<name>/tags/list` (distribution-spec v1.1.1 end-8a, 8b). */
export function handleTags(
  { context, request, query }: Call,
  repository: string,
): RegistryResponse {
  requireRead(request.method);
  const wanted = wholeNumber(query, "n") ?? MAX_TAGS_PER_PAGE;
  const limit = Math.min(wanted, MAX_TAGS_PER_PAGE);
  // One more than the page tells whether there is a next one.
  const found = context.listings.tags(repository, query.get("last") ?? "", limit + 1);
  if (found === undefined) {
    throw new SpecError("NAME_UNKNOWN", `Cannot list tags: there is no repository ${repository}`);
  }
  const tags = found.slice(0, limit);
  const last = tags.at(-1);
  const hasMore = found.length > limit && last !== undefined;
  const next = hasMore && nextLink(`/v2/${repository}/tags/list`, { n: String(limit), last });
  return jsonResponse(200, { name: repository, tags }, next ? { Link: next } : {});
}

/**
 * `/v2/<name>/referrers/<digest>` (distribution-spec v1.1.1 end-12a, 12b). An unknown repository or subject has no referrers:
 * a 404 would tell clients that there is no such API.
 */
export function handleReferrers(
  { context, request, query }: Call,
  repository: string,
  subject: Digest,
): RegistryResponse {
  requireRead(request.method);
  const artifactType = artifactTypeFilter(query);
  const afterId = wholeNumber(query, "last") ?? 0;
  const limit = context.referrersPerPage;
  const found = context.listings.referrers(repository, {
    subject,
    artifactType,
    afterId,
    limit: limit + 1,
  });
  const page = leadingPage(found, limit, ({ descriptor }) => descriptor);
  const last = page.at(-1)?.id;
  const parameters = { ...(artifactType !== undefined && { artifactType }), last: String(last) };
  const hasMore = found.length > page.length;
  return bytesResponse(200, indexOf(page), {
    "Content-Type": MEDIA_TYPE_OCI_INDEX,
    ...(artifactType !== undefined && { "OCI-Filters-Applied": "artifactType" }),
    ...(hasMore && { Link: nextLink(`/v2/${repository}/referrers/${subject}`, parameters) }),
  });
}

function indexOf(rows: readonly ReferrerRow[]): Uint8Array {
  const head = `{"schemaVersion":2,"mediaType":"${MEDIA_TYPE_OCI_INDEX}","manifests":[`;
  return Buffer.from(`${head}${rows.map(({ descriptor }) => descriptor).join(",")}]}`);
}

function wholeNumber(query: URLSearchParams, name: string): number | undefined {
  const text = query.get(name);
  if (text === null) return undefined;
  if (/^\d{1,15}$/.test(text)) return Number(text);
  throw new SpecError("UNSUPPORTED", `Cannot use ${name}=${shown(text)}: want a whole number`, {
    status: 400,
  });
}

function requireRead(method: string): void {
  if (method !== "GET" && method !== "HEAD") throw methodNotAllowed(method, ["GET", "HEAD"]);
}

/** RFC 8288. The path needs no encoding: its parts were checked. */
function nextLink(path: string, parameters: Readonly<Record<string, string>>): string {
  return `<${path}?${new URLSearchParams(parameters).toString()}>; rel="next"`;
}
