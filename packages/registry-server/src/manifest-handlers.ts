import { concatBytes, type Digest, digestAlgorithm, digestOf, sha256 } from "@soci-ts/core";
import type { StoredManifest } from "./catalogue/manifests.ts";
import type { Call } from "./context.ts";
import {
  bytesResponse,
  contentLengthOf,
  emptyResponse,
  headerOf,
  matchesEtag,
  type RegistryResponse,
} from "./http.ts";
import { MAX_TAGS_PER_PUSH } from "./limits.ts";
import { readManifestFacts } from "./manifest-facts.ts";
import { isTag, type ManifestReference, shown } from "./route.ts";
import { methodNotAllowed, SpecError } from "./spec-error.ts";
import { whole } from "./uploads.ts";

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
  const headers = { "Docker-Content-Digest": digest, ETag: `"${digest}"` };
  if (matchesEtag(headerOf(call.request, "if-none-match"), headers.ETag)) {
    return { status: 304, headers };
  }
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
  const missing = context.manifests.put(repository, { digest, bytes, facts, tags });
  if (missing.length > 0) {
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
    ...(facts.subject !== undefined && { "OCI-Subject": facts.subject }),
    ...(reference.kind === "digest" && tags.length > 0 && { "OCI-Tag": tags.join(", ") }),
  });
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
  const pieces: Uint8Array[] = [];
  let length = 0;
  for await (const piece of whole(request.body)) {
    length += piece.length;
    if (length > limit) throw tooLarge();
    pieces.push(piece);
  }
  return concatBytes(pieces);
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

function removeManifest({ context }: Call, target: ManifestTarget): RegistryResponse {
  const { repository, reference } = target;
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
