import { type Digest, isDigest } from "@soci-ts/core";
import { type RegistryRequest, splitTarget } from "../http.ts";
import { isRepositoryName } from "../route.ts";

/** Repositories that are asked about for a mount that names none. */
const MAX_HOLDERS = 1_000;

/** What a mount has to know of the registry. */
export interface MountFacts {
  /** Repositories that have a blob, at most `limit`. */
  holders(digest: Digest, limit: number): readonly string[];
}

/** A request to begin an upload, with the mount in it that is allowed. */
export interface CheckedMount {
  readonly request: RegistryRequest;
  /** The blob that may be mounted; `undefined` if there is none. */
  readonly digest: Digest | undefined;
}

/**
 * Takes a cross-repository mount out of a request whose sender may not pull from the source: an upload begins instead, just as where the
 * blob is not there, so the answer tells nothing. A mount that names no source gets one that the sender may pull from.
 */
export function checkMount(
  request: RegistryRequest,
  facts: MountFacts,
  mayPull: (repository: string) => boolean,
): CheckedMount {
  const { path, query } = splitTarget(request.url);
  const digest = query.get("mount");
  if (digest === null || !isDigest(digest)) return { request, digest: undefined };
  const from = query.get("from") ?? "";
  // The handler says what is wrong with a name that is none.
  if (from !== "" && !isRepositoryName(from)) return { request, digest: undefined };
  const sources = from === "" ? facts.holders(digest, MAX_HOLDERS) : [from];
  const source = sources.find(mayPull);
  if (source === undefined) {
    // With `digest` alone it would be another request: an upload in one go.
    for (const name of ["mount", "from", "digest"]) query.delete(name);
  } else query.set("from", source);
  const url = `${path}?${query.toString()}`;
  return { request: { ...request, url }, digest: source === undefined ? undefined : digest };
}
