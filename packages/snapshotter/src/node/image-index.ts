import { AppError, abortable, type Digest } from "@soci-ts/core";
import type { LayerIndex } from "@soci-ts/layer-index";
import { MEDIA_TYPE_SOCI_INDEX_V1, type Reference, type RepositoryName } from "@soci-ts/oci";
import type { RegistryClient } from "@soci-ts/registry-client";
import {
  fetchZtocs,
  findIndex,
  type IndexReader,
  type IndexSearch,
  type ResolvedImage,
  type SourceLayer,
} from "@soci-ts/soci";
import type { Store } from "@soci-ts/store";
import type { LayerStep } from "../contract/types.ts";
import type { ImageWorkerOptions } from "./image-worker.ts";

/** What looking for an index needs. */
export interface LookUpOptions extends ImageWorkerOptions {
  readonly reference: Reference;
  readonly store: Store;
  readonly signal: AbortSignal;
}

/** An image's index, or why it is read without one. */
export interface ImageIndex extends Partial<IndexSearch> {
  readonly why: string;
  /** Of an image without one, for counting. */
  readonly kind?: LayerStep["kind"];
}

/** A layer by its ztoc, or why not. */
export interface IndexedLayer {
  readonly indexed?: { readonly index: LayerIndex; readonly ztocDigest: Digest } | undefined;
  readonly why: string;
  readonly kind?: LayerStep["kind"];
}

/**
 * Begins to ask for a manifest's referrers, which takes only its digest, so that the answer is there when the manifest is.
 * Other questions go through as they come.
 */
export function earlyIndexReader(
  client: RegistryClient,
  repository: RepositoryName,
  digest: Digest,
  signal: AbortSignal,
): IndexReader {
  const artifactType = MEDIA_TYPE_SOCI_INDEX_V1;
  const early = client.listReferrers(repository, digest, { artifactType, signal });
  early.catch(() => {}); // whoever asks for it is told
  return {
    fetchManifest: (name, io) => client.fetchManifest(name, io),
    listReferrers: (name, subject, io) =>
      subject === digest
        ? abortable(early, io?.signal) // the look-up has a deadline that began later
        : client.listReferrers(name, subject, io),
  };
}

/** Finds the image's index. What goes wrong costs the index, not the image, and is not remembered. */
export async function lookUpIndex(
  image: ResolvedImage,
  reader: IndexReader,
  options: LookUpOptions,
): Promise<ImageIndex> {
  const { reference, store, policyOf, logger, lookupTimeoutMs } = options;
  const { registry, repository } = reference;
  const deadline = AbortSignal.timeout(lookupTimeoutMs);
  try {
    const search = await findIndex({
      client: reader,
      repository: { registry, repository },
      manifestDescriptor: image.manifestDescriptor,
      manifest: image.manifest,
      policy: policyOf({ registry, repository }),
      store,
      logger,
      signal: AbortSignal.any([options.signal, deadline]),
    });
    return { ...search, ...explained(search) };
  } catch (error) {
    options.signal.throwIfAborted();
    const state = deadline.aborted
      ? `no answer within ${lookupTimeoutMs} ms`
      : AppError.from(error).message;
    logger.warn("index not looked up", { error: state });
    return { kind: "index_failed", why: `its index could not be looked for: ${state}` };
  }
}

function explained({ found, considered }: IndexSearch): Pick<ImageIndex, "why" | "kind"> {
  if (found !== undefined) return { why: found.reason };
  const indexes = considered.filter(({ digest }) => digest !== undefined);
  const [first] = indexes;
  if (first === undefined) return { kind: "no_index", why: "the image has no SOCI index" };
  const why = `none of its indexes (${indexes.length}) can be used: ${first.digest}: ${first.why}`;
  return { kind: "index_refused", why };
}

/**
 * Fetches the ztocs of an image's layers, several at a time, each as its own promise. One that is gone or broken, or can't be had now,
 * costs its layer the laziness only.
 */
export function readIndexedLayers(
  layers: readonly SourceLayer[],
  { found, why, kind }: ImageIndex,
  options: LookUpOptions,
): readonly Promise<IndexedLayer>[] {
  if (found === undefined) return layers.map(async () => ({ why, kind }));
  const { client, reference, store, signal, logger } = options;
  const { registry, repository } = reference;
  const { index, indexDescriptor, reason } = found;
  const ztocs = fetchZtocs({
    client,
    repository: { registry, repository },
    index,
    layers: layers.map(({ descriptor }) => descriptor),
    store,
    signal,
  });
  const name = `index ${indexDescriptor.digest}`;
  return layers.map(async ({ descriptor }, at): Promise<IndexedLayer> => {
    try {
      const ztoc = (await ztocs)[at];
      if (ztoc?.kind === "indexed") return { indexed: ztoc, why: `${name} (${reason})` };
      if (ztoc?.kind !== "unusable") return { kind: "no_index", why: `${name} leaves it out` };
      return { kind: "ztoc_failed", why: `its ztoc can't be used: ${ztoc.why}` };
    } catch (error) {
      signal.throwIfAborted();
      const { message } = AppError.from(error);
      logger.warn("ztoc not fetched", { layer: descriptor.digest, error: message });
      return { kind: "ztoc_failed", why: `its ztoc could not be fetched: ${message}` };
    }
  });
}
