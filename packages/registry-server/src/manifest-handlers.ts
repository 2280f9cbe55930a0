import { type Digest, digestAlgorithm, digestOf, sha256 } from "@soci-ts/core";
import type { StoredManifest } from "./catalogue/manifests.ts";
import type { Call } from "./context.ts";
import {
  bytesResponse,
  collected,
  contentLengthOf,
  emptyResponse,
  headerOf,
  type RegistryResponse,
  verdictOf,
} from "./http.ts";
import { MAX_TAGS_PER_PUSH } from "./limits.ts";
import { type ManifestFacts, readManifestFacts } from "./manifest-facts.ts";
import { isTag, type ManifestReference, shown } from "./route.ts";
import { methodNotAllowed, preconditionFailed, SpecError } from "./spec-error.ts";
import { whole } from "./uploads.ts";
import { warningHeader } from "./warnings.ts";

/** A manifest that a path names. */
export interface ManifestTarget {
  readonly repository: string;
  readonly reference: ManifestReference;
}

/** `/v2/<name>/manifests/<tag or digest>` (distribution-spec v1.1.1 end-3, 7, 9). */
export async function handleManifest(
  call: Call,
  target: ManifestTarget,
): Promise<RegistryResponse> {
  switch (call.request.method) {
    case "GET":
    case "HEAD":
      return readManifest(call, target);
    case "PUT":
      return putManifest(call, target);
    case "DELETE":
      return removeManifest(call, target);
    default:
      throw methodNotAllowed(call.request.method, ["GET", "HEAD", "PUT", "DELETE"]);
  }
}

function readManifest(call: Call, target: ManifestTarget): RegistryResponse {
  const found = find(call, target);
  if (found === undefined) throw unknownManifest(target);
  const { digest, mediaType, bytes } = found;
  const headers = { "Docker-Content-Digest": digest, ETag: etagOf(digest) };
  const verdict = verdictOf(call.request, headers.ETag);
  if (verdict === "failed") throw preconditionFailed(headers.ETag);
  if (verdict === "not modified") return { status: 304, headers };
  return bytesResponse(200, bytes, { "Content-Type": mediaType, ...headers });
}

function find(
  { context }: Call,
  { repository, reference }: ManifestTarget,
): StoredManifest | undefined {
  switch (reference.kind) {
    case "tag":
      return context.manifests.findByTag(repository, reference.tag);
    case "digest":
      return context.manifests.findByDigest(repository, reference.digest);
    case "invalid":
      return undefined;
  }
}

async function putManifest(call: Call, target: ManifestTarget): Promise<RegistryResponse> {
  const { context, request } = call;
  const { repository, reference } = target;
  if (reference.kind === "invalid") throw invalidTag(reference.text);
  const tags = reference.kind === "tag" ? [reference.tag] : tagParameters(call.query);
  const bytes = await readManifestBody(call);
  const digest = verifiedDigest(bytes, reference);
  const facts = readManifestFacts(bytes, headerOf(request, "content-type"));
  // Nothing is awaited from here on: what the conditions are compared with is what is replaced.
  requireConditions(call, target);
  const allowsMissing = context.allowsSparse;
  const missing = context.manifests.put(repository, { digest, bytes, facts, tags, allowsMissing });
  if (missing.length > 0 && !allowsMissing) {
    throw new SpecError(
      "MANIFEST_BLOB_UNKNOWN",
      `Cannot store manifest: ${repository} lacks what it refers to`,
      {
        details: missing,
      },
    );
  }
  return emptyResponse(201, {
    Location: `/v2/${repository}/manifests/${digest}`,
    "Docker-Content-Digest": digest,
    ...warningHeader(warningsOf(call, repository, { facts, missing })),
    ...(facts.subject !== undefined && { "OCI-Subject": facts.subject }),
    ...(reference.kind === "digest" && tags.length > 0 && { "OCI-Tag": tags.join(", ") }),
  });
}

/** Clients that replace a tag can say what they think it points at (distribution-spec v1.1.1 §Pushing Manifests with Subject). */
function requireConditions(call: Call, target: ManifestTarget): void {
  const { headers } = call.request;
  if (headers["if-match"] === undefined && headers["if-none-match"] === undefined) return;
  const found = find(call, target);
  const etag = found && etagOf(found.digest);
  if (verdictOf(call.request, etag) === "failed") throw preconditionFailed(etag);
}

/** What is worth telling of a manifest that was stored all the same. */
function warningsOf(
  { context }: Call,
  repository: string,
  { facts, missing }: { facts: ManifestFacts; missing: readonly Digest[] },
): string[] {
  const { subject, foreignLayers } = facts;
  const warnings: string[] = [];
  if (missing.length > 0) {
    warnings.push(`${missing.length} of the blobs and manifests it refers to are not here.`);
  }
  if (subject !== undefined && !context.manifests.has(repository, subject)) {
    warnings.push(`Its subject ${subject} is not here.`);
  }
  if (foreignLayers > 0) {
    warnings.push(`${foreignLayers} non-distributable layers are left to their own URLs.`);
  }
  return warnings;
}

function etagOf(digest: Digest): string {
  return `"${digest}"`;
}

function tagParameters(query: URLSearchParams): string[] {
  const tags = [...new Set(query.getAll("tag"))];
  if (tags.length > MAX_TAGS_PER_PUSH) {
    throw new SpecError(
      "SIZE_INVALID",
      `Cannot set ${tags.length} tags at once: want at most ${MAX_TAGS_PER_PUSH}`,
      {
        status: 414,
      },
    );
  }
  const wrong = tags.find((tag) => !isTag(tag));
  if (wrong !== undefined) throw invalidTag(wrong);
  return tags;
}

async function readManifestBody({ context, request }: Call): Promise<Uint8Array> {
  const limit = context.manifestLimitBytes;
  const tooLarge = (): SpecError =>
    new SpecError(
      "SIZE_INVALID",
      `Cannot store manifest: it is too large, want at most ${limit} bytes`,
      {
        status: 413,
      },
    );
  if ((contentLengthOf(request) ?? 0) > limit) throw tooLarge();
  const bytes = await collected(whole(request.body), limit);
  if (bytes === undefined) throw tooLarge();
  return bytes;
}

function verifiedDigest(bytes: Uint8Array, reference: ManifestReference): Digest {
  if (reference.kind !== "digest") return sha256(bytes);
  const actual = digestOf(bytes, digestAlgorithm(reference.digest));
  if (actual === reference.digest) return actual;
  throw new SpecError(
    "DIGEST_INVALID",
    `Cannot store manifest: its digest is ${actual}, want ${reference.digest}`,
  );
}

function removeManifest(call: Call, target: ManifestTarget): RegistryResponse {
  const { context } = call;
  const { repository, reference } = target;
  requireConditions(call, target);
  const removed =
    (reference.kind === "tag" && context.manifests.removeTag(repository, reference.tag)) ||
    (reference.kind === "digest" && context.manifests.remove(repository, reference.digest));
  if (!removed) throw unknownManifest(target);
  return emptyResponse(202);
}

function unknownManifest({ repository, reference }: ManifestTarget): SpecError {
  const { kind } = reference;
  const name =
    kind === "tag" ? reference.tag : kind === "digest" ? reference.digest : shown(reference.text);
  return new SpecError("MANIFEST_UNKNOWN", `Cannot find manifest in ${repository}`, {
    details: [name],
  });
}

function invalidTag(text: string): SpecError {
  return new SpecError(
    "MANIFEST_INVALID",
    `Cannot use tag ${shown(text)}: want a-z A-Z 0-9 _ . -, at most 128, not beginning with . or -`,
  );
}
