import {
  AppError,
  type Digest,
  type IoOptions,
  isDigest,
  type Logger,
  silentLogger,
  verifyDigest,
} from "@soci-ts/core";
import {
  ANNOTATION_INDEX_DIGEST,
  type Descriptor,
  MANIFEST_LIMIT_BYTES,
  type Manifest,
  MEDIA_TYPE_SOCI_INDEX_V1,
  type RepositoryName,
} from "@soci-ts/oci";
import type { RegistryClient } from "@soci-ts/registry-client";
import type { Store } from "@soci-ts/store";
import { chooseIndex, type IndexCandidate, matchImage } from "./choose-index.ts";
import { MAX_INDEX_CANDIDATES } from "./limits.ts";
import { parseSociIndex, type SociIndex } from "./soci-index.ts";

/** What looking for an index needs of a registry client. */
export type IndexReader = Pick<RegistryClient, "fetchManifest" | "listReferrers">;

/** Where to look. */
export interface FindIndexOptions extends IoOptions {
  readonly client: IndexReader;
  readonly repository: RepositoryName;
  /** The platform's image manifest, never the multi-platform index. */
  readonly manifestDescriptor: Descriptor;
  readonly manifest: Manifest;
  /** Looked into first, if given. */
  readonly store?: Store | undefined;
  readonly logger?: Logger | undefined;
}

/** An index, verified against its digest and found to be of the image. */
export interface FoundIndex {
  readonly indexDescriptor: Descriptor;
  readonly index: SociIndex;
  readonly version: 1 | 2;
  readonly origin: "local" | "annotation" | "referrers";
  /** Why this one: for logs and people. */
  readonly reason: string;
}

/**
 * Finds the SOCI index of an image manifest: in the local store, then by the manifest's own annotation (v2), then among
 * the manifest's referrers (v1; the client falls back to the referrers tag). A place whose index is missing, broken or of another image is passed over
 * and logged; `undefined` means that all three places were asked and have none.
 * @throws AppError if a place can't be asked (registry away, no right): that is not the same as "no index".
 */
export async function findIndex(options: FindIndexOptions): Promise<FoundIndex | undefined> {
  const logger = (options.logger ?? silentLogger).child({
    manifest: options.manifestDescriptor.digest,
  });
  const places = [findLocal, findAnnotated, findReferrer];
  for (const place of places) {
    options.signal?.throwIfAborted();
    const found = await place(options, logger);
    if (found === undefined) continue;
    logger.debug("index found", { digest: found.indexDescriptor.digest, reason: found.reason });
    return found;
  }
  logger.debug("no index found");
  return undefined;
}

async function findLocal(
  options: FindIndexOptions,
  logger: Logger,
): Promise<FoundIndex | undefined> {
  const { store, manifestDescriptor } = options;
  if (store === undefined) return undefined;
  const rows = store.listIndexes({ manifestDigest: manifestDescriptor.digest });
  return chooseFrom([...new Set(rows.map(({ digest }) => digest))], {
    origin: "local",
    logger,
    options,
    read: (digest) => store.readBlob(digest, { maxBytes: MANIFEST_LIMIT_BYTES }),
  });
}

async function findAnnotated(
  options: FindIndexOptions,
  logger: Logger,
): Promise<FoundIndex | undefined> {
  const digest = options.manifest.annotations?.[ANNOTATION_INDEX_DIGEST];
  if (digest === undefined) return undefined;
  if (!isDigest(digest)) {
    logger.warn("index passed over", { why: "the manifest's annotation is not a digest" });
    return undefined;
  }
  return chooseFrom([digest], {
    origin: "annotation",
    logger,
    options,
    read: (wanted) => readRemote(options, wanted),
  });
}

async function findReferrer(
  options: FindIndexOptions,
  logger: Logger,
): Promise<FoundIndex | undefined> {
  const { client, repository, manifestDescriptor, signal } = options;
  const referrers = await client.listReferrers(repository, manifestDescriptor.digest, {
    artifactType: MEDIA_TYPE_SOCI_INDEX_V1,
    signal,
  });
  const digests = [...new Set(referrers.map(({ digest }) => digest))].sort();
  if (digests.length > MAX_INDEX_CANDIDATES) {
    logger.warn("indexes passed over", { count: digests.length - MAX_INDEX_CANDIDATES });
  }
  return chooseFrom(digests.slice(0, MAX_INDEX_CANDIDATES), {
    origin: "referrers",
    logger,
    options,
    read: (wanted) => readRemote(options, wanted),
  });
}

async function readRemote(options: FindIndexOptions, digest: Digest): Promise<Uint8Array> {
  const { client, repository, signal } = options;
  const { bytes } = await client.fetchManifest({ ...repository, digest }, { signal });
  verifyDigest(`index ${digest}`, bytes, digest);
  return bytes;
}

interface Place {
  readonly origin: FoundIndex["origin"];
  readonly logger: Logger;
  readonly options: FindIndexOptions;
  read(digest: Digest): Promise<Uint8Array>;
}

async function chooseFrom(
  digests: readonly Digest[],
  place: Place,
): Promise<FoundIndex | undefined> {
  const candidates: IndexCandidate[] = [];
  for (const digest of digests) {
    const candidate = await readCandidate(digest, place);
    if (candidate !== undefined) candidates.push(candidate);
  }
  const chosen = chooseIndex(candidates);
  if (chosen === undefined) return undefined;
  const { descriptor, index } = chosen.candidate;
  return {
    indexDescriptor: descriptor,
    index,
    version: index.version,
    origin: place.origin,
    reason: `${place.origin}: ${chosen.reason}`,
  };
}

/** An index that is gone, broken or of another image is no candidate; any other failure is the caller's. */
async function readCandidate(digest: Digest, place: Place): Promise<IndexCandidate | undefined> {
  try {
    const bytes = await place.read(digest);
    const index = parseSociIndex(bytes);
    return matchImage({ digest, sizeBytes: bytes.length, index }, place.options);
  } catch (error) {
    const { code, message } = AppError.from(error);
    const passOver = code === "not_found" || code === "data_loss" || code === "failed_precondition";
    if (!passOver) throw error;
    place.logger.warn("index passed over", { digest, origin: place.origin, why: message });
    return undefined;
  }
}
