import { AppError, type Digest, type IoOptions, type Logger, silentLogger } from "@soci-ts/core";
import type { Descriptor, RepositoryName } from "@soci-ts/oci";
import type { BlobRecord, Store } from "@soci-ts/store";
import { type FetchZtocOptions, fetchZtocBytes } from "./fetch-ztoc.ts";
import { findIndex, type IndexReader } from "./find-index.ts";
import type { ResolvedImage } from "./image-source.ts";
import { MAX_ZTOC_BYTES } from "./limits.ts";
import type { ZtocEntry } from "./soci-index.ts";
import type { TrustPolicy } from "./trust-policy.ts";

/** Where ztocs of an image may be that others made, and which of them are believed. */
export interface ReuseOptions {
  readonly client: IndexReader & FetchZtocOptions["client"];
  readonly repository: RepositoryName;
  readonly policy: TrustPolicy;
}

/** Finds a ztoc of a layer with a span size; undefined if there is none that can be used. What it gives is in the store, held. */
export type ZtocFinder = (
  layer: Descriptor,
  spanSizeBytes: number,
) => Promise<BlobRecord | undefined>;

/** A ztoc made earlier for the same blob and span size serves again, if the store still has it whole. */
export async function findInStore(
  store: Store,
  layer: Descriptor,
  spanSizeBytes: number,
): Promise<BlobRecord | undefined> {
  const known = store.findZtoc(layer.digest, spanSizeBytes);
  return known === undefined ? undefined : await holdZtoc(store, known.digest);
}

/** Reads and verifies a ztoc of the store and holds it; undefined if it is gone or damaged. */
export async function holdZtoc(store: Store, digest: Digest): Promise<BlobRecord | undefined> {
  try {
    const bytes = await store.readBlob(digest, { maxBytes: MAX_ZTOC_BYTES });
    // Writing what is there already holds it, so that no other process's `removeIndex` takes it away before ours names it.
    return await store.writeBlob(bytes, { digest });
  } catch (error) {
    const { code } = AppError.from(error);
    if (code === "not_found" || code === "data_loss") return undefined;
    throw error;
  }
}

/**
 * Looks for the image's index in its registry when the first layer is asked for, and takes ztocs from it. Nothing that goes wrong there is
 * an error of the caller's, who can still build: it is logged.
 */
export function registryZtocs(
  reuse: ReuseOptions,
  image: ResolvedImage,
  options: IoOptions & { readonly store: Store; readonly logger?: Logger | undefined },
): ZtocFinder {
  const { client, repository, policy } = reuse;
  const { store, signal, logger = silentLogger } = options;
  const { manifest, manifestDescriptor } = image;
  let search: Promise<readonly ZtocEntry[]> | undefined;
  const passOver = (error: unknown, what: string): undefined => {
    signal?.throwIfAborted();
    logger.warn("ztocs of the registry passed over", { what, why: AppError.from(error).message });
  };
  const find = async (): Promise<readonly ZtocEntry[]> => {
    const found = await findIndex({
      client,
      repository,
      policy,
      manifest,
      manifestDescriptor,
      signal,
      logger,
    });
    return found.found?.index.ztocs ?? [];
  };
  return async (layer, spanSizeBytes) => {
    search ??= find().catch((error: unknown) => passOver(error, "all") ?? []);
    const ztoc = (await search).find(
      (entry) =>
        entry.layerDigest === layer.digest &&
        (entry.spanSizeBytes === undefined || entry.spanSizeBytes === spanSizeBytes),
    );
    if (ztoc === undefined) return undefined;
    try {
      const read = await fetchZtocBytes({ client, repository, ztoc, layer, signal });
      if (read.index.spanSizeBytes !== spanSizeBytes) return undefined;
      return await store.writeBlob(read.bytes, { digest: ztoc.descriptor.digest });
    } catch (error) {
      return passOver(error, layer.digest);
    }
  };
}
