import { AppError, type Digest, type IoOptions, Semaphore } from "@soci-ts/core";
import {
  type Descriptor,
  EMPTY_CONFIG,
  formatReference,
  MANIFEST_LIMIT_BYTES,
  MEDIA_TYPE_SOCI_INDEX_V1,
  type Platform,
  type Reference,
  type RepositoryName,
} from "@soci-ts/oci";
import type { BlobContent, RegistryClient } from "@soci-ts/registry-client";
import type { Store } from "@soci-ts/store";
import type { ImageSource } from "./image-source.ts";
import { type ImageReader, registryImageSource } from "./registry-source.ts";
import { emptyConfigDescriptor, parseSociIndex, sociVersion } from "./soci-index.ts";
import { storedBlob } from "./stored-blob.ts";

const UPLOADS_AT_ONCE = 3;

/** What pushing needs of a registry client. */
export type IndexPusher = ImageReader &
  Pick<RegistryClient, "pushBlob" | "pushReferrer" | "listReferrers">;

/** Told to {@link PushIndexOptions.onProgress} after each blob. */
export interface PushProgress {
  readonly descriptor: Descriptor;
  /** False if the registry had the blob already. */
  readonly sent: boolean;
}

/** What to push, and where. */
export interface PushIndexOptions extends IoOptions {
  readonly client: IndexPusher;
  readonly store: Store;
  /** The image in the registry; it must be there, and is only read. */
  readonly reference: Reference;
  /** Where the image's manifest is looked up instead: a copy of the image, which the registry need not have yet. */
  readonly source?: ImageSource | undefined;
  /** See `ImageSource.resolve`. */
  readonly platform?: Platform | undefined;
  /** Default: the newest index of the image's manifest in the store. */
  readonly indexDigest?: Digest | undefined;
  /**
   * What to do if the registry has other indexes (v1) of the image: push and tell of them (`warn`), not push (`skip`), or not look
   * (`allow`, the default).
   */
  readonly existing?: "warn" | "skip" | "allow" | undefined;
  /** Default 3. */
  readonly uploadsAtOnce?: number | undefined;
  readonly onProgress?: ((progress: PushProgress) => void) | undefined;
}

/** What {@link pushIndex} did. */
export interface PushedIndex {
  readonly reference: string;
  readonly indexDigest: Digest;
  readonly manifestDigest: Digest;
  /** How readers find it: the registry lists referrers itself, or the referrers tag was updated. Undefined if nothing was pushed. */
  readonly found: "referrers" | "tag" | undefined;
  /** Other indexes (v1) of the image in the registry; none if they were not looked for. */
  readonly others: readonly Digest[];
  /** True if nothing was pushed because there are others. */
  readonly isSkipped: boolean;
  readonly blobsSent: number;
  readonly bytesSent: number;
}

/**
 * Puts an index that is in the store beside its image in a registry: config, ztocs, then the index manifest. Nothing of the
 * image is written. Can be repeated: what is there already is not sent again.
 * @throws AppError `not_found` if the image is not in the registry or no index of it is in the store.
 */
export async function pushIndex(options: PushIndexOptions): Promise<PushedIndex> {
  const { client, store, reference } = options;
  const repository: RepositoryName = {
    registry: reference.registry,
    repository: reference.repository,
  };
  const source = options.source ?? registryImageSource(client, reference);
  const image = await source.resolve(options.platform, options);
  const manifestDigest = image.manifestDescriptor.digest;
  const indexDigest = options.indexDigest ?? newestIndex(store, manifestDigest, reference);
  const bytes = await store.readBlob(indexDigest, { maxBytes: MANIFEST_LIMIT_BYTES });
  const index = parseSociIndex(bytes);
  if (index.manifest.subject?.digest !== manifestDigest) {
    throw new AppError(
      "failed_precondition",
      `Cannot push index ${indexDigest}: it is of manifest ${index.manifest.subject?.digest}, want ${manifestDigest} as ${formatReference(reference)} is`,
    );
  }
  const others = await findOthers(options, { manifestDigest, indexDigest });
  const named = { reference: formatReference(reference), indexDigest, manifestDigest, others };
  if (options.existing === "skip" && others.length > 0) {
    return { ...named, found: undefined, isSkipped: true, blobsSent: 0, bytesSent: 0 };
  }
  let blobsSent = 0;
  let bytesSent = 0;
  const send = async (descriptor: Descriptor, content: BlobContent): Promise<void> => {
    const { outcome } = await client.pushBlob(repository, descriptor, content, options);
    const sent = outcome === "pushed";
    if (sent) blobsSent += 1;
    if (sent) bytesSent += descriptor.size;
    options.onProgress?.({ descriptor, sent });
  };
  await send(emptyConfigDescriptor(), EMPTY_CONFIG);
  const distinct = new Map(index.manifest.layers.map((layer) => [layer.digest, layer]));
  const permits = new Semaphore(options.uploadsAtOnce ?? UPLOADS_AT_ONCE);
  await Promise.all(
    [...distinct.values()].map((descriptor) =>
      permits.run(() => send(descriptor, storedBlob(store, descriptor.digest)), options.signal),
    ),
  );
  const { subjectHandled } = await client.pushReferrer(
    repository,
    index.manifest.mediaType ?? image.manifestDescriptor.mediaType,
    bytes,
    options,
  );
  return {
    ...named,
    isSkipped: false,
    found: subjectHandled ? "referrers" : "tag",
    blobsSent,
    bytesSent,
  };
}

async function findOthers(
  { client, reference, existing = "allow", signal }: PushIndexOptions,
  digests: { readonly manifestDigest: Digest; readonly indexDigest: Digest },
): Promise<readonly Digest[]> {
  if (existing === "allow") return [];
  const artifactType = MEDIA_TYPE_SOCI_INDEX_V1;
  const { registry, repository } = reference;
  const found = await client.listReferrers({ registry, repository }, digests.manifestDigest, {
    artifactType,
    signal,
  });
  return found.map(({ digest }) => digest).filter((digest) => digest !== digests.indexDigest);
}

function newestIndex(store: Store, manifestDigest: Digest, reference: Reference): Digest {
  const indexes = store.listIndexes({ manifestDigest });
  const newest = indexes.find((index) => sociVersion(index.artifactType) === 1);
  if (newest !== undefined) return newest.digest;
  throw new AppError(
    "not_found",
    `Cannot push an index of ${formatReference(reference)}: the store has none of its manifest ${manifestDigest}, want one made by \`soci create\``,
  );
}
