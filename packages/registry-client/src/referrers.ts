import { AppError, type Digest, type IoOptions } from "@soci-ts/core";
import {
  type Descriptor,
  MANIFEST_LIMIT_BYTES,
  MEDIA_TYPE_OCI_INDEX,
  parseManifest,
  type RepositoryName,
} from "@soci-ts/oci";
import { mediaTypeHeader } from "./headers.ts";
import { MAX_LIST_LENGTH } from "./limits.ts";
import { type PushedManifest, pushManifest } from "./manifests.ts";
import { readPages } from "./pages.ts";
import { type ReferrersTags, readReferrersTag } from "./referrers-tag.ts";
import type { RegistryHost } from "./registry-host.ts";
import type { Transport } from "./transport.ts";

/** Which referrers to list. */
export interface ListReferrersOptions extends IoOptions {
  /** Only those of this type. */
  readonly artifactType?: string | undefined;
}

/**
 * What refers to a manifest: from the referrers API or, where the registry has none, from the referrers tag
 * (distribution-spec v1.1.1, §Listing Referrers). Filtered here too: a registry need not filter.
 */
export async function listReferrers(
  registry: RegistryHost,
  transport: Transport,
  subject: { readonly repository: string; readonly digest: Digest },
  options: ListReferrersOptions = {},
): Promise<Descriptor[]> {
  const { repository, digest } = subject;
  const { artifactType } = options;
  const listed = await askApi(registry, transport, subject, options);
  const all =
    listed ??
    (await readReferrersTag(registry, transport, repository, digest, options))?.descriptors;
  return (all ?? []).filter(
    (entry) => artifactType === undefined || entry.artifactType === artifactType,
  );
}

/** Undefined if the registry has no referrers API. */
async function askApi(
  registry: RegistryHost,
  transport: Transport,
  subject: { readonly repository: string; readonly digest: Digest },
  options: ListReferrersOptions,
): Promise<Descriptor[] | undefined> {
  const { repository, digest } = subject;
  const query =
    options.artifactType === undefined
      ? ""
      : `?artifactType=${encodeURIComponent(options.artifactType)}`;
  const request = {
    action: `list the referrers of ${registry.name}/${repository}@${digest}`,
    method: "GET",
    target: `/v2/${repository}/referrers/${digest}${query}`,
    headers: { accept: MEDIA_TYPE_OCI_INDEX },
    expect: [200, 404, 405, 501],
    repository,
    scopes: [`repository:${repository}:pull`],
    signal: options.signal,
  } as const;
  const found: Descriptor[] = [];
  const limits = { ...options, maxBytes: MANIFEST_LIMIT_BYTES };
  for await (const { answer, body } of readPages(registry, transport, request, limits)) {
    // Some registries lead to a login page instead of saying 404.
    if (answer.status !== 200 || isWebPage(mediaTypeHeader(answer.headers))) return undefined;
    const parsed = parseManifest(body, MEDIA_TYPE_OCI_INDEX);
    if (parsed.kind !== "index") return undefined;
    for (const entry of parsed.index.manifests) found.push(entry);
    if (found.length > MAX_LIST_LENGTH) {
      throw new AppError(
        "resource_exhausted",
        `Cannot ${request.action}: there are more than ${MAX_LIST_LENGTH}`,
      );
    }
  }
  return found;
}

function isWebPage(mediaType: string | undefined): boolean {
  return mediaType === "text/html" || mediaType === "application/xhtml+xml";
}

/** What {@link pushReferrer} needs. */
export interface PushReferrerDeps {
  readonly registry: RegistryHost;
  readonly transport: Transport;
  readonly tags: ReferrersTags;
}

/**
 * Pushes a manifest that has a subject, and sees to it that it is found: by the registry itself if it says so
 * (`OCI-Subject`) or lists it, else by adding it to the referrers tag.
 * @throws AppError `invalid_argument` if it has no subject.
 */
export async function pushReferrer(
  deps: PushReferrerDeps,
  name: RepositoryName,
  content: { readonly mediaType: string; readonly bytes: Uint8Array },
  options: IoOptions = {},
): Promise<PushedManifest> {
  const { subject, entry } = describe(content);
  const pushed = await pushManifest(deps.registry, name, content, options);
  if (pushed.subjectHandled) return pushed;
  const { repository } = name;
  const place = { repository, digest: subject.digest };
  const filter = { ...options, artifactType: entry.artifactType };
  const listed = await askApi(deps.registry, deps.transport, place, filter);
  const { digest } = pushed.descriptor;
  if (listed?.some((other) => other.digest === digest)) return { ...pushed, subjectHandled: true };
  await deps.tags.add(deps.registry, place, { ...entry, ...pushed.descriptor }, options);
  return pushed;
}

/** The subject, and what a list of referrers says of the manifest beside its digest. */
function describe(content: { readonly mediaType: string; readonly bytes: Uint8Array }): {
  subject: Descriptor;
  entry: Pick<Descriptor, "artifactType" | "annotations">;
} {
  const parsed = parseManifest(content.bytes, content.mediaType);
  const document = parsed.kind === "index" ? parsed.index : parsed.manifest;
  const { subject, annotations } = document;
  if (subject === undefined) {
    throw new AppError(
      "invalid_argument",
      "Cannot push referrer: the manifest has no subject, want one",
    );
  }
  const configType = parsed.kind === "manifest" ? parsed.manifest.config.mediaType : undefined;
  const artifactType = document.artifactType ?? configType;
  return { subject, entry: { artifactType, annotations } };
}
