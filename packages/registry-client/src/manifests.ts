import {
  AppError,
  type Digest,
  DigestMismatchError,
  digestAlgorithm,
  digestOf,
  type IoOptions,
  isDigest,
  sha256,
} from "@soci-ts/core";
import {
  type Descriptor,
  MANIFEST_LIMIT_BYTES,
  MEDIA_TYPE_DOCKER_MANIFEST,
  MEDIA_TYPE_DOCKER_MANIFEST_LIST,
  MEDIA_TYPE_OCI_INDEX,
  MEDIA_TYPE_OCI_MANIFEST,
  parseManifest,
  type RepositoryName,
} from "@soci-ts/oci";
import { readBody } from "./body.ts";
import { RegistryError } from "./errors.ts";
import { headerValue, mediaTypeHeader, numberHeader, type ResponseHeaders } from "./headers.ts";
import type { RegistryHost } from "./registry-host.ts";
import type { Transport, WireResponse } from "./transport.ts";

/**
 * Which manifest: a repository with a tag, a digest, or both (then the digest decides on reading, the tag on writing). With
 * neither it is `latest` on reading and the content's own digest on writing.
 */
export interface ManifestName extends RepositoryName {
  readonly tag?: string | undefined;
  readonly digest?: Digest | undefined;
}

/** A manifest as the registry holds it. */
export interface FetchedManifest {
  readonly descriptor: Descriptor;
  /** Exactly the bytes of the digest. */
  readonly bytes: Uint8Array;
}

/** A manifest with what the registry said beside it, for conditional writes. */
export interface TaggedManifest extends FetchedManifest {
  readonly etag: string | undefined;
}

/** What a registry did with a pushed manifest. */
export interface PushedManifest {
  readonly descriptor: Descriptor;
  /** True if the registry will list it as a referrer of its subject (distribution-spec v1.1.1, §Pushing Manifests with Subject). */
  readonly subjectHandled: boolean;
}

const ACCEPT = [
  MEDIA_TYPE_OCI_MANIFEST,
  MEDIA_TYPE_OCI_INDEX,
  MEDIA_TYPE_DOCKER_MANIFEST,
  MEDIA_TYPE_DOCKER_MANIFEST_LIST,
  "*/*;q=0.1",
].join(", ");

/** Media types that say nothing: the document itself is asked. */
const VAGUE_TYPES: ReadonlySet<string> = new Set([
  "application/json",
  "application/octet-stream",
  "text/plain",
]);

/** Content that comes with another digest than asked for is fetched this often; it may have been damaged on the way. */
const DIGEST_ATTEMPTS = 2;

/** Fetches a manifest; its digest is checked against the name and against what the registry says. */
export async function fetchManifest(
  registry: RegistryHost,
  transport: Transport,
  name: ManifestName,
  options: IoOptions = {},
): Promise<TaggedManifest> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await registry.exchange(manifestRequest("fetch", "GET", name, options), (answer) =>
        readManifest(answer, name, transport),
      );
    } catch (error) {
      if (attempt >= DIGEST_ATTEMPTS || !(error instanceof DigestMismatchError)) throw error;
    }
  }
}

async function readManifest(
  answer: WireResponse,
  name: ManifestName,
  transport: Transport,
): Promise<TaggedManifest> {
  const bytes = await readBody(answer, MANIFEST_LIMIT_BYTES, transport);
  const wanted = name.digest ?? digestHeader(answer.headers);
  const digest = wanted === undefined ? sha256(bytes) : digestOf(bytes, digestAlgorithm(wanted));
  if (wanted !== undefined && digest !== wanted) {
    throw new DigestMismatchError(`manifest ${shownManifest(name)}`, wanted, digest);
  }
  const announced = mediaTypeHeader(answer.headers);
  const isVague = announced === undefined || VAGUE_TYPES.has(announced);
  const mediaType = isVague ? parseManifest(bytes).mediaType : announced;
  const etag = headerValue(answer.headers, "etag");
  return { descriptor: { mediaType, digest, size: bytes.length }, bytes, etag };
}

/** The descriptor of a manifest, by HEAD; undefined if there is none. */
export async function headManifest(
  registry: RegistryHost,
  transport: Transport,
  name: ManifestName,
  options: IoOptions = {},
): Promise<Descriptor | undefined> {
  const request = manifestRequest("look up", "HEAD", name, options);
  const found = await registry.exchange({ ...request, expect: [200, 404] }, (answer) => {
    if (answer.status === 404) return undefined;
    const digest = digestHeader(answer.headers) ?? name.digest;
    if (name.digest !== undefined && digest !== name.digest) {
      throw new DigestMismatchError(
        `manifest ${shownManifest(name)}`,
        name.digest,
        digest ?? "not told",
      );
    }
    const size = numberHeader(answer.headers, "content-length");
    return { digest, size, mediaType: mediaTypeHeader(answer.headers) };
  });
  if (found === undefined) return undefined;
  const { digest, size, mediaType } = found;
  const isTold = digest !== undefined && size !== undefined && mediaType !== undefined;
  if (isTold && size > 0 && !VAGUE_TYPES.has(mediaType)) return { mediaType, digest, size };
  // Registries need not tell all of it.
  try {
    return (await fetchManifest(registry, transport, name, options)).descriptor;
  } catch (error) {
    if (error instanceof RegistryError && error.status === 404) return undefined;
    throw error;
  }
}

/** What a manifest is pushed as. */
export interface ManifestContent {
  readonly mediaType: string;
  readonly bytes: Uint8Array;
  /** Conditions (If-Match and the like). A condition that fails is a RegistryError with status 412. */
  readonly conditions?: Readonly<Record<string, string>>;
}

/**
 * Pushes a manifest under a tag or, without one, by its digest (sha256 unless the name has another). Blobs and manifests
 * that it names must be there already.
 */
export async function pushManifest(
  registry: RegistryHost,
  name: ManifestName,
  content: ManifestContent,
  options: IoOptions = {},
): Promise<PushedManifest> {
  const { bytes, mediaType } = content;
  if (bytes.length > MANIFEST_LIMIT_BYTES) {
    throw new AppError(
      "resource_exhausted",
      `Cannot push manifest ${shownManifest(name)}: it has ${bytes.length} bytes, want at most ${MANIFEST_LIMIT_BYTES}`,
    );
  }
  const algorithm = name.digest === undefined ? "sha256" : digestAlgorithm(name.digest);
  const digest = digestOf(bytes, algorithm);
  if (name.digest !== undefined && name.digest !== digest) {
    throw new DigestMismatchError(`manifest ${shownManifest(name)}`, name.digest, digest);
  }
  const target = { ...name, digest: name.tag === undefined ? digest : undefined };
  const request = manifestRequest("push", "PUT", target, options);
  const headers = await registry.exchange(
    {
      ...request,
      scopes: [`repository:${name.repository}:pull,push`],
      headers: { "content-type": mediaType, ...content.conditions },
      body: bytes,
      expect: [201],
    },
    (answer) => answer.headers,
  );
  const stored = digestHeader(headers);
  if (stored !== undefined && digestAlgorithm(stored) === algorithm && stored !== digest) {
    throw new DigestMismatchError(
      `the registry's copy of manifest ${shownManifest(name)}`,
      digest,
      stored,
    );
  }
  const descriptor = { mediaType, digest, size: bytes.length };
  return { descriptor, subjectHandled: headers["oci-subject"] !== undefined };
}

function manifestRequest(
  verb: string,
  method: "GET" | "HEAD" | "PUT",
  name: ManifestName,
  options: IoOptions,
): Parameters<RegistryHost["exchange"]>[0] {
  const { repository } = name;
  return {
    action: `${verb} manifest ${shownManifest(name)}`,
    method,
    target: `/v2/${repository}/manifests/${name.digest ?? name.tag ?? "latest"}`,
    headers: { accept: ACCEPT },
    expect: [200],
    repository,
    scopes: [`repository:${repository}:pull`],
    signal: options.signal,
  };
}

function digestHeader(headers: ResponseHeaders): Digest | undefined {
  const text = headerValue(headers, "docker-content-digest");
  return text !== undefined && isDigest(text) ? text : undefined;
}

/** `registry/repository:tag@digest`, for people. */
export function shownManifest(name: ManifestName): string {
  const tag = name.tag === undefined ? "" : `:${name.tag}`;
  const digest = name.digest === undefined ? "" : `@${name.digest}`;
  return `${name.registry}/${name.repository}${tag}${digest}`;
}
