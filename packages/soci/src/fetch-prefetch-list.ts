import { AppError, type IoOptions } from "@soci-ts/core";
import type { SpanRange } from "@soci-ts/layer-index";
import { MEDIA_TYPE_SOCI_PREFETCH, type RepositoryName } from "@soci-ts/oci";
import type { RegistryClient } from "@soci-ts/registry-client";
import type { Store } from "@soci-ts/store";
import { MAX_PREFETCH_LIST_BYTES } from "./limits.ts";
import { parsePrefetchList } from "./prefetch-list.ts";
import type { PrefetchListEntry } from "./soci-index.ts";

/** Which prefetch list, and where it may be. */
export interface FetchPrefetchListOptions extends IoOptions {
  readonly client: Pick<RegistryClient, "fetchBlob">;
  readonly repository: RepositoryName;
  /** Of a verified index. */
  readonly entry: PrefetchListEntry;
  /** Looked into first, if given. */
  readonly store?: Store | undefined;
}

/**
 * Reads a prefetch list, its digest checked.
 * @throws AppError `not_found`, `resource_exhausted` if it is larger than the limit; DigestMismatchError; FormatError.
 */
export async function fetchPrefetchList(
  options: FetchPrefetchListOptions,
): Promise<readonly SpanRange[]> {
  const { client, repository, entry, store, signal } = options;
  const { digest, sizeBytes: size } = entry;
  const maxBytes = MAX_PREFETCH_LIST_BYTES;
  if (size > maxBytes) {
    const state = `it has ${size} bytes, want at most ${maxBytes}`;
    throw new AppError("resource_exhausted", `Cannot read prefetch list ${digest}: ${state}`);
  }
  if (store !== undefined && (await store.hasBlob(digest))) {
    return parsePrefetchList(await store.readBlob(digest, { maxBytes }));
  }
  const descriptor = { mediaType: MEDIA_TYPE_SOCI_PREFETCH, digest, size };
  return parsePrefetchList(await client.fetchBlob(repository, descriptor, { maxBytes, signal }));
}
