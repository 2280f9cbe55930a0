import { AppError, type IoOptions, type Logger, Semaphore } from "@soci-ts/core";
import type { SpanRange } from "@soci-ts/layer-index";
import { type Descriptor, MEDIA_TYPE_SOCI_PREFETCH, type RepositoryName } from "@soci-ts/oci";
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

/** Whose prefetch lists, and for how long they are asked for. */
export interface FetchPrefetchListsOptions extends Omit<FetchPrefetchListOptions, "entry"> {
  /** Of a verified index. */
  readonly entries: readonly PrefetchListEntry[];
  readonly layers: readonly Descriptor[];
  /** Of each list. */
  readonly timeoutMs: number;
  readonly logger: Logger;
}

/** Ztocs are fetched at the same time, and are what is waited for. */
const LISTS_AT_ONCE = 4;

/**
 * Begins to fetch the prefetch list of each layer that has one. What is wrong with a list is logged, and costs nothing else: none of the
 * promises rejects.
 */
export function fetchPrefetchLists(
  options: FetchPrefetchListsOptions,
): readonly Promise<readonly SpanRange[] | undefined>[] {
  const permits = new Semaphore(LISTS_AT_ONCE);
  return options.layers.map(async ({ digest }) => {
    const entry = options.entries.find(({ layerDigest }) => layerDigest === digest);
    return entry && permits.run(() => fetchOrWarn(entry, options));
  });
}

async function fetchOrWarn(
  entry: PrefetchListEntry,
  options: FetchPrefetchListsOptions,
): Promise<readonly SpanRange[] | undefined> {
  const deadline = AbortSignal.timeout(options.timeoutMs);
  const signal =
    options.signal === undefined ? deadline : AbortSignal.any([options.signal, deadline]);
  try {
    return await fetchPrefetchList({ ...options, entry, signal });
  } catch (error) {
    const reason = AppError.from(error).message;
    options.logger.warn("prefetch list passed over", { layer: entry.layerDigest, error: reason });
    return undefined;
  }
}
