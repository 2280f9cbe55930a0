import { AppError, type Digest, sha256 } from "@soci-ts/core";
import {
  ANNOTATION_IMAGE_MANIFEST_DIGEST,
  ANNOTATION_INDEX_DIGEST,
  type Descriptor,
  encodeManifest,
  type ImageIndex,
  isSamePlatform,
  MEDIA_TYPE_DOCKER_MANIFEST,
  MEDIA_TYPE_OCI_CONFIG,
  MEDIA_TYPE_OCI_INDEX,
  MEDIA_TYPE_OCI_MANIFEST,
  MEDIA_TYPE_SOCI_INDEX_V2,
  type ParsedManifest,
  type Platform,
  parseManifest,
} from "@soci-ts/oci";
import type { RootDocument } from "./image-source.ts";

/** On BuildKit's attestations in an image index: the digest of the manifest that they are about. */
const ANNOTATION_ATTESTED = "vnd.docker.reference.digest";

/** A SOCI index of one platform, to be put into an image index. */
export interface PlatformIndex {
  /** What the SOCI index was asked for; the image's own entry may spell it otherwise. */
  readonly platform: Platform;
  /** The image manifest, before it was rewritten. */
  readonly manifestDigest: Digest;
  readonly descriptor: Descriptor;
}

/** A manifest that was written anew, and the entry that names it in the image index. */
export interface RewrittenManifest {
  readonly entry: Descriptor;
  readonly bytes: Uint8Array;
}

/**
 * The image index that a conversion starts from: the image's own, as an OCI one, or a new one that lists its only manifest.
 * @param platform - of the only manifest, which does not say it itself.
 */
export function startIndex(
  root: RootDocument,
  document: ParsedManifest,
  platform: Platform | undefined,
): ImageIndex {
  if (document.kind === "index") return { ...document.index, mediaType: MEDIA_TYPE_OCI_INDEX };
  const { platform: named = platform } = root.descriptor;
  const entry = { ...root.descriptor, mediaType: document.mediaType, platform: named };
  return { schemaVersion: 2, mediaType: MEDIA_TYPE_OCI_INDEX, manifests: [entry] };
}

/** True if the entry has to be written anew: it was indexed, or is of Docker's type, which registries do not take beside OCI's. */
export function isRewritten(entry: Descriptor, indexes: readonly PlatformIndex[]): boolean {
  if (entry.mediaType === MEDIA_TYPE_DOCKER_MANIFEST) return true;
  return indexes.some(({ manifestDigest }) => manifestDigest === entry.digest);
}

/**
 * A manifest with OCI's types for itself and its config, and with the annotation that names its SOCI index, if it has one. The
 * layers keep their types. The entry gets the manifest's annotations in place of its own.
 */
export function rewriteManifest(
  entry: Descriptor,
  bytes: Uint8Array,
  indexes: readonly PlatformIndex[],
): RewrittenManifest {
  const document = parseManifest(bytes, entry.mediaType);
  if (document.kind !== "manifest") {
    throw new AppError(
      "failed_precondition",
      `Cannot convert ${entry.digest}: it is an image index, want the manifest of one platform`,
    );
  }
  const { manifest } = document;
  const index = indexes.find(({ manifestDigest }) => manifestDigest === entry.digest);
  const annotations = {
    ...manifest.annotations,
    ...(index && { [ANNOTATION_INDEX_DIGEST]: index.descriptor.digest }),
  };
  const mediaType = MEDIA_TYPE_OCI_MANIFEST;
  const config = { ...manifest.config, mediaType: MEDIA_TYPE_OCI_CONFIG };
  const rewritten = encodeManifest({ ...manifest, mediaType, config, annotations });
  const { data: _stale, ...kept } = entry;
  const digest = sha256(rewritten);
  return {
    bytes: rewritten,
    entry: { ...kept, mediaType, digest, size: rewritten.length, annotations },
  };
}

/** An entry that is not about a rewritten manifest comes back as it is; an attestation of one follows it. */
export function followRewritten(
  entry: Descriptor,
  rewritten: ReadonlyMap<string, RewrittenManifest>,
): Descriptor {
  const attested = entry.annotations?.[ANNOTATION_ATTESTED];
  const now = attested === undefined ? undefined : rewritten.get(attested);
  if (now === undefined) return entry;
  const annotations = { ...entry.annotations, [ANNOTATION_ATTESTED]: now.entry.digest };
  return { ...entry, annotations };
}

/** Adds SOCI indexes to an image index: each in the place of the one that its platform had, else at the end. */
export function addSociEntries(
  manifests: readonly Descriptor[],
  indexes: readonly PlatformIndex[],
  rewritten: ReadonlyMap<string, RewrittenManifest>,
): readonly Descriptor[] {
  const entries = [...manifests];
  for (const index of indexes) {
    const { platform, manifestDigest, descriptor } = index;
    const image = rewritten.get(manifestDigest)?.entry.digest ?? manifestDigest;
    const annotations = { [ANNOTATION_IMAGE_MANIFEST_DIGEST]: image };
    const entry = { ...descriptor, annotations, platform };
    const at = entries.findIndex((other) => isSociEntryOf(other, platform));
    if (at < 0) entries.push(entry);
    else entries[at] = entry;
  }
  return entries;
}

function isSociEntryOf(entry: Descriptor, platform: Platform): boolean {
  if (entry.artifactType !== MEDIA_TYPE_SOCI_INDEX_V2 || entry.platform === undefined) return false;
  return isSamePlatform(entry.platform, platform);
}
