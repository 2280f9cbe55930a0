import { AppError, abortable, type Digest, Semaphore } from "@soci-ts/core";
import type { LayerIndex } from "@soci-ts/layer-index";
import { MEDIA_TYPE_SOCI_INDEX_V1, type Reference, type RepositoryName } from "@soci-ts/oci";
import type { RegistryClient } from "@soci-ts/registry-client";
import {
  type FoundIndex,
  fetchZtoc,
  findIndex,
  type IndexReader,
  type ResolvedImage,
  type SourceLayer,
} from "@soci-ts/soci";
import type { Store } from "@soci-ts/store";
import type { ImageWorkerOptions } from "./image-worker.ts";

const ZTOCS_AT_ONCE = 8;

/** What looking for an index needs. */
export interface LookUpOptions extends ImageWorkerOptions {
  readonly reference: Reference;
  readonly store: Store;
  readonly signal: AbortSignal;
}

/** An image's index, or why it is read without one. */
export interface ImageIndex {
  readonly found?: FoundIndex | undefined;
  readonly why: string;
}

/** A layer by its ztoc, or why not. */
export interface IndexedLayer {
  readonly indexed?: { readonly index: LayerIndex; readonly ztocDigest: Digest } | undefined;
  readonly why: string;
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
  const { reference, store, logger, lookupTimeoutMs } = options;
  const deadline = AbortSignal.timeout(lookupTimeoutMs);
  const signal = AbortSignal.any([options.signal, deadline]);
  const { registry, repository } = reference;
  try {
    const found = await findIndex({
      client: reader,
      repository: { registry, repository },
      manifestDescriptor: image.manifestDescriptor,
      manifest: image.manifest,
      store,
      logger,
      signal,
    });
    return { found, why: found?.reason ?? "the image has no SOCI index" };
  } catch (error) {
    options.signal.throwIfAborted();
    const state = deadline.aborted
      ? `no answer within ${lookupTimeoutMs} ms`
      : AppError.from(error).message;
    logger.warn("index not looked up", { error: state });
    return { why: `its index could not be looked for: ${state}` };
  }
}

/** Fetches the ztocs of an image's layers, several at a time. One that is gone or broken costs its layer the laziness only. */
export function readIndexedLayers(
  layers: readonly SourceLayer[],
  { found, why }: ImageIndex,
  options: LookUpOptions,
): readonly Promise<IndexedLayer>[] {
  if (found === undefined) return layers.map(async () => ({ why }));
  const ztocs = new Map(found.index.ztocs.map((ztoc) => [ztoc.layerDigest, ztoc]));
  const permits = new Semaphore(ZTOCS_AT_ONCE);
  const read = async ({ descriptor }: SourceLayer): Promise<IndexedLayer> => {
    const ztoc = ztocs.get(descriptor.digest);
    if (ztoc === undefined) return { why: `index ${found.indexDescriptor.digest} leaves it out` };
    const { client, reference, store, signal, logger } = options;
    const { registry, repository } = reference;
    try {
      const index = await permits.run(
        () =>
          fetchZtoc({
            client,
            repository: { registry, repository },
            ztoc,
            layer: descriptor,
            store,
            signal,
          }),
        signal,
      );
      const indexed = { index, ztocDigest: ztoc.descriptor.digest };
      return { indexed, why: `index ${found.indexDescriptor.digest} (${found.reason})` };
    } catch (error) {
      signal.throwIfAborted();
      const { message } = AppError.from(error);
      logger.warn("ztoc not usable", { layer: descriptor.digest, error: message });
      return { why: `its ztoc can't be used: ${message}` };
    }
  };
  return layers.map(read);
}
