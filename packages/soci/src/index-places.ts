import {
  AppError,
  type Digest,
  isDigest,
  type Logger,
  Semaphore,
  verifyDigest,
} from "@soci-ts/core";
import {
  ANNOTATION_INDEX_DIGEST,
  MANIFEST_LIMIT_BYTES,
  type Manifest,
  MEDIA_TYPE_SOCI_INDEX_V1,
} from "@soci-ts/oci";
import { type IndexCandidate, matchImage } from "./choose-index.ts";
import type { FindIndexOptions } from "./find-index.ts";
import { INDEXES_AT_ONCE, MAX_INDEX_CANDIDATES } from "./limits.ts";
import { parseSociIndex } from "./soci-index.ts";
import { refusalOf, type TrustPolicy } from "./trust-policy.ts";

/** Where an index was found. */
export type IndexOrigin = "local" | "annotation" | "referrers";

/** An index, or a place as a whole, that was looked at. Plain words, for people. */
export interface ConsideredIndex {
  /** Undefined where the place as a whole is meant. */
  readonly digest: Digest | undefined;
  readonly origin: IndexOrigin;
  readonly taken: boolean;
  /** Why it was taken, or why not. */
  readonly why: string;
}

/** What a place has. */
export interface PlaceReport {
  readonly origin: IndexOrigin;
  readonly candidates: readonly IndexCandidate[];
  /** What was passed over there. */
  readonly passedOver: readonly ConsideredIndex[];
}

/** What looking into a place needs. */
export interface PlaceOptions extends FindIndexOptions {
  readonly policy: TrustPolicy;
  readonly logger: Logger;
}

/** The digest that the manifest names as its index; undefined if it names none. It may be no digest at all. */
export function boundDigest(manifest: Manifest): string | undefined {
  return manifest.annotations?.[ANNOTATION_INDEX_DIGEST];
}

/** Indexes of the image that the local store knows. */
export async function lookLocally(options: PlaceOptions): Promise<PlaceReport> {
  const { store, manifestDescriptor } = options;
  if (store === undefined) return { origin: "local", candidates: [], passedOver: [] };
  const rows = store.listIndexes({ manifestDigest: manifestDescriptor.digest });
  const digests = rows.map(({ digest }) => digest);
  return readAll("local", digests, options, (digest) =>
    store.readBlob(digest, { maxBytes: MANIFEST_LIMIT_BYTES }),
  );
}

/** The index that the image's own manifest names (v2). */
export async function lookAtAnnotation(options: PlaceOptions): Promise<PlaceReport> {
  const origin = "annotation";
  const digest = boundDigest(options.manifest);
  if (digest === undefined) return { origin, candidates: [], passedOver: [] };
  if (!isDigest(digest)) {
    const why = "the manifest's annotation is not a digest";
    options.logger.warn("index passed over", { origin, why });
    return { origin, candidates: [], passedOver: [placeAsWhole(origin, why)] };
  }
  return readAll(origin, [digest], options, (wanted) => readRemote(options, wanted));
}

/** Indexes that refer to the image (v1). */
export async function lookAtReferrers(options: PlaceOptions): Promise<PlaceReport> {
  const { client, repository, manifestDescriptor, signal, policy } = options;
  const origin = "referrers";
  if (policy.kind === "bound") {
    const why = "not asked: the policy wants the index that the image's manifest names";
    return { origin, candidates: [], passedOver: [placeAsWhole(origin, why)] };
  }
  const referrers = await client.listReferrers(repository, manifestDescriptor.digest, {
    artifactType: MEDIA_TYPE_SOCI_INDEX_V1,
    signal,
  });
  const digests = referrers.map(({ digest }) => digest);
  return readAll(origin, digests, options, (wanted) => readRemote(options, wanted));
}

/** An entry about a place as a whole. */
export function placeAsWhole(origin: IndexOrigin, why: string): ConsideredIndex {
  return { digest: undefined, origin, taken: false, why };
}

async function readRemote(options: PlaceOptions, digest: Digest): Promise<Uint8Array> {
  const { client, repository, signal } = options;
  const { bytes } = await client.fetchManifest({ ...repository, digest }, { signal });
  verifyDigest(`index ${digest}`, bytes, digest);
  return bytes;
}

/** Reads those that the policy allows, lowest digest first and several at a time. */
async function readAll(
  origin: IndexOrigin,
  digests: readonly Digest[],
  options: PlaceOptions,
  read: (digest: Digest) => Promise<Uint8Array>,
): Promise<PlaceReport> {
  const { policy, manifest, signal } = options;
  const refused: ConsideredIndex[] = [];
  const allowed: Digest[] = [];
  for (const digest of [...new Set(digests)].sort()) {
    const why = refusalOf(policy, digest, boundDigest(manifest));
    if (why === undefined) allowed.push(digest);
    else refused.push({ digest, origin, taken: false, why });
  }
  const chosen = allowed.slice(0, MAX_INDEX_CANDIDATES);
  const permits = new Semaphore(INDEXES_AT_ONCE);
  const seen = await Promise.all(
    chosen.map((digest) => permits.run(() => readOne(digest, origin, options, read), signal)),
  );
  const candidates = seen.flatMap(({ candidate }) => candidate ?? []);
  const broken = seen.flatMap(({ passedOver }) => passedOver ?? []);
  const left = allowed.length - chosen.length;
  const unread = left === 0 ? [] : [placeAsWhole(origin, `${left} more were not read`)];
  return { origin, candidates, passedOver: [...shortened(refused), ...broken, ...unread] };
}

/** A registry may list any number of indexes; reports stay short. */
function shortened(refused: readonly ConsideredIndex[]): readonly ConsideredIndex[] {
  const [first] = refused;
  const left = refused.length - MAX_INDEX_CANDIDATES;
  if (first === undefined || left <= 0) return refused;
  const more = placeAsWhole(first.origin, `${left} more were refused by the policy`);
  return [...refused.slice(0, MAX_INDEX_CANDIDATES), more];
}

interface ReadIndex {
  readonly candidate?: IndexCandidate;
  readonly passedOver?: ConsideredIndex;
}

/** An index that is gone, broken or of another image is no candidate; any other failure is the caller's. */
async function readOne(
  digest: Digest,
  origin: IndexOrigin,
  options: PlaceOptions,
  read: (digest: Digest) => Promise<Uint8Array>,
): Promise<ReadIndex> {
  try {
    const bytes = await read(digest);
    const index = parseSociIndex(bytes);
    return { candidate: matchImage({ digest, sizeBytes: bytes.length, index }, options) };
  } catch (error) {
    const { code, message } = AppError.from(error);
    const passOver = code === "not_found" || code === "data_loss" || code === "failed_precondition";
    if (!passOver) throw error;
    options.logger.warn("index passed over", { digest, origin, why: message });
    return { passedOver: { digest, origin, taken: false, why: message } };
  }
}
