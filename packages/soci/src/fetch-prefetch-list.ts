import { AppError, type IoOptions } from "@soci-ts/core";
import type { SpanRange } from "@soci-ts/layer-index";
import { MEDIA_TYPE_SOCI_PREFETCH, type RepositoryName } from "@soci-ts/oci";
import type { RegistryClient } from "@soci-ts/registry-client";
import { MAX_PREFETCH_LIST_BYTES } from "./limits.ts";
import { parsePrefetchList } from "./prefetch-list.ts";
import type { PrefetchListEntry } from "./soci-index.ts";

/**
 * Fetches a prefetch list that a verified index names, checks its digest and reads it.
 * @throws AppError `not_found`, `resource_exhausted` if it is larger than the limit; DigestMismatchError; FormatError.
 */
export async function fetchPrefetchList(
  client: Pick<RegistryClient, "fetchBlob">,
  repository: RepositoryName,
  entry: PrefetchListEntry,
  options: IoOptions = {},
): Promise<readonly SpanRange[]> {
  const { digest, sizeBytes: size } = entry;
  const maxBytes = MAX_PREFETCH_LIST_BYTES;
  if (size > maxBytes) {
    const state = `it has ${size} bytes, want at most ${maxBytes}`;
    throw new AppError("resource_exhausted", `Cannot read prefetch list ${digest}: ${state}`);
  }
  const descriptor = { mediaType: MEDIA_TYPE_SOCI_PREFETCH, digest, size };
  const bytes = await client.fetchBlob(repository, descriptor, { ...options, maxBytes });
  return parsePrefetchList(bytes);
}
