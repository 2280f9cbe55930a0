import { AppError, type IoOptions, isDigest, type Logger, silentLogger } from "@soci-ts/core";
import type { Descriptor, Manifest, RepositoryName } from "@soci-ts/oci";
import type { RegistryClient } from "@soci-ts/registry-client";
import type { Store } from "@soci-ts/store";
import { chooseIndex } from "./choose-index.ts";
import {
  boundDigest,
  type ConsideredIndex,
  type IndexOrigin,
  lookAtAnnotation,
  lookAtReferrers,
  lookLocally,
  type PlaceOptions,
  type PlaceReport,
  placeAsWhole,
} from "./index-places.ts";
import type { SociIndex } from "./soci-index.ts";
import type { TrustPolicy } from "./trust-policy.ts";

/** What looking for an index needs of a registry client. */
export type IndexReader = Pick<RegistryClient, "fetchManifest" | "listReferrers">;

/** Where to look. */
export interface FindIndexOptions extends IoOptions {
  readonly client: IndexReader;
  readonly repository: RepositoryName;
  /** The platform's image manifest, never the multi-platform index. */
  readonly manifestDescriptor: Descriptor;
  /** Parsed from bytes of that digest: the policy `bound` believes what it names. */
  readonly manifest: Manifest;
  /** Looked into first, if given. */
  readonly store?: Store | undefined;
  /** Which indexes may be used (default: any). */
  readonly policy?: TrustPolicy | undefined;
  readonly logger?: Logger | undefined;
}

/** An index, verified against its digest and found to be of the image. */
export interface FoundIndex {
  readonly indexDescriptor: Descriptor;
  readonly index: SociIndex;
  readonly version: 1 | 2;
  readonly origin: IndexOrigin;
  /** Why this one: for logs and people. */
  readonly reason: string;
}

/** What a search came to. */
export interface IndexSearch {
  /** Undefined if all places were asked and have none that may be used. */
  readonly found: FoundIndex | undefined;
  /** All that was looked at, in the order of the places: the one that was taken, and why the others were not. */
  readonly considered: readonly ConsideredIndex[];
}

/**
 * Finds the SOCI index of an image manifest: in the local store, then among the manifest's referrers (v1; the client falls
 * back to the referrers tag), then by the manifest's own annotation (v2). The last two are asked at the same time. An index
 * that is missing, broken, of another image or refused by the policy is passed over and told in `considered`.
 * @throws AppError if a place that might have one can't be asked (registry away, no right) and no other has one: that is not the same
 *   as "no index".
 */
export async function findIndex(options: FindIndexOptions): Promise<IndexSearch> {
  const { policy = { kind: "any" }, signal, manifestDescriptor } = options;
  signal?.throwIfAborted();
  const logger = (options.logger ?? silentLogger).child({ manifest: manifestDescriptor.digest });
  const search = await searchAll({ ...options, policy, logger });
  const { found } = search;
  if (found === undefined) logger.debug("no index found");
  else logger.debug("index found", { digest: found.indexDescriptor.digest, reason: found.reason });
  return search;
}

async function searchAll(options: PlaceOptions): Promise<IndexSearch> {
  const local = conclude(await lookLocally(options));
  if (local.found !== undefined) return local;
  const stop = new AbortController();
  const signals = options.signal === undefined ? [stop.signal] : [options.signal, stop.signal];
  // Begun now, so that it adds no round trip; given up when the referrers have one.
  const annotation = settled(lookAtAnnotation({ ...options, signal: AbortSignal.any(signals) }));
  try {
    const referrers = await settled(lookAtReferrers(options));
    options.signal?.throwIfAborted();
    if (referrers.found !== undefined) {
      const considered = [...local.considered, ...referrers.considered, ...unread(options)];
      return { found: referrers.found, considered };
    }
    const bound = await annotation;
    options.signal?.throwIfAborted();
    return combined(local, referrers, bound, options);
  } finally {
    stop.abort();
  }
}

/** What referrers and annotation come to when the referrers have none. */
function combined(
  local: IndexSearch,
  referrers: SettledSearch,
  bound: SettledSearch,
  options: PlaceOptions,
): IndexSearch {
  const { found } = bound;
  if (found === undefined) {
    const failed = [referrers, bound].find(({ error }) => error !== undefined);
    if (failed !== undefined) throw failed.error;
  }
  const considered = [...local.considered, ...referrers.considered];
  if (referrers.error !== undefined) {
    const why = `cannot be asked: ${AppError.from(referrers.error).message}`;
    options.logger.warn("referrers passed over", { why });
    considered.push(placeAsWhole("referrers", why));
  }
  return { found, considered: [...considered, ...bound.considered] };
}

/** The annotation's index, when there is one among the referrers. */
function unread(options: PlaceOptions): readonly ConsideredIndex[] {
  const digest = boundDigest(options.manifest);
  if (digest === undefined || !isDigest(digest)) return [];
  const why = "not needed: there is one among the referrers";
  return [{ digest, origin: "annotation", taken: false, why }];
}

interface SettledSearch extends IndexSearch {
  readonly error?: unknown;
}

async function settled(place: Promise<PlaceReport>): Promise<SettledSearch> {
  try {
    return conclude(await place);
  } catch (error) {
    return { found: undefined, considered: [], error };
  }
}

/** Chooses among what one place has. */
function conclude(report: PlaceReport): IndexSearch {
  const { origin, passedOver } = report;
  const choice = chooseIndex(report.candidates);
  if (choice === undefined) return { found: undefined, considered: passedOver };
  const { descriptor, index } = choice.candidate;
  const reason = `${origin}: ${choice.reason}`;
  const taken = { digest: descriptor.digest, origin, taken: true, why: choice.reason };
  const others = choice.others.map(({ candidate, why }) => ({
    digest: candidate.descriptor.digest,
    origin,
    taken: false,
    why,
  }));
  return {
    found: { indexDescriptor: descriptor, index, version: index.version, origin, reason },
    considered: [taken, ...others, ...passedOver],
  };
}
