import { AppError, type Digest, type IoOptions, Semaphore } from "@soci-ts/core";
import type { LayerIndex } from "@soci-ts/layer-index";
import type { Descriptor, RepositoryName } from "@soci-ts/oci";
import { RegistryError } from "@soci-ts/registry-client/errors";
import type { Store } from "@soci-ts/store";
import { type FetchZtocOptions, fetchZtoc } from "./fetch-ztoc.ts";
import { ZTOCS_AT_ONCE } from "./limits.ts";
import type { SociIndex } from "./soci-index.ts";

/** Which ztocs. */
export interface FetchZtocsOptions extends IoOptions {
  readonly client: FetchZtocOptions["client"];
  readonly repository: RepositoryName;
  /** The image's index, verified. */
  readonly index: SociIndex;
  /** The image's layers, from the verified manifest. */
  readonly layers: readonly Descriptor[];
  /** Looked into first, if given. */
  readonly store?: Store | undefined;
}

/** What the index has for one layer. */
export type LayerZtoc =
  | { readonly kind: "indexed"; readonly index: LayerIndex; readonly ztocDigest: Digest }
  /** The index has none: a small layer, or one of a kind that can't be indexed. */
  | { readonly kind: "absent" }
  /** It is gone, broken, beyond our limits or of something else; `why` is for people. */
  | { readonly kind: "unusable"; readonly why: string };

/**
 * The ztocs of an image's layers, several fetched at a time, each once however often its layer occurs. One that is gone or
 * broken costs its layer the laziness, not the image the mount.
 * @returns one entry for each of the layers, in their order.
 * @throws AppError if the registry or the store can't be asked.
 */
export async function fetchZtocs(options: FetchZtocsOptions): Promise<readonly LayerZtoc[]> {
  const permits = new Semaphore(ZTOCS_AT_ONCE);
  const fetches = new Map<Digest, Promise<LayerZtoc>>();
  const fetchOnce = (layer: Descriptor): Promise<LayerZtoc> => {
    const fetch =
      fetches.get(layer.digest) ?? permits.run(() => fetchFor(layer, options), options.signal);
    fetches.set(layer.digest, fetch);
    return fetch;
  };
  return Promise.all(options.layers.map(fetchOnce));
}

async function fetchFor(layer: Descriptor, options: FetchZtocsOptions): Promise<LayerZtoc> {
  const ztoc = options.index.ztocs.find(({ layerDigest }) => layerDigest === layer.digest);
  if (ztoc === undefined) return { kind: "absent" };
  const { client, repository, store, signal } = options;
  const ztocDigest = ztoc.descriptor.digest;
  try {
    const index = await fetchZtoc({ client, repository, ztoc, layer, store, signal });
    return { kind: "indexed", index, ztocDigest };
  } catch (error) {
    if (!isUnusable(error)) throw error;
    return { kind: "unusable", why: AppError.from(error).message };
  }
}

/** Gone or broken. One beyond our limits is broken too; a registry that asks to slow down is another matter. */
function isUnusable(error: unknown): boolean {
  const { code } = AppError.from(error);
  const isBeyondLimits = code === "resource_exhausted" && !(error instanceof RegistryError);
  return code === "not_found" || code === "data_loss" || isBeyondLimits;
}
