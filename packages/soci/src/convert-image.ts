import { AppError, type IoOptions, sha256 } from "@soci-ts/core";
import {
  type Descriptor,
  encodeIndex,
  type ImageIndex,
  MEDIA_TYPE_OCI_INDEX,
  normalizePlatform,
  type Platform,
  parseManifest,
} from "@soci-ts/oci";
import type { Store } from "@soci-ts/store";
import {
  addSociEntries,
  followRewritten,
  isRewritten,
  type PlatformIndex,
  type RewrittenManifest,
  rewriteManifest,
  startIndex,
} from "./convert-documents.ts";
import { type ChosenPlatform, choosePlatforms, type WantedPlatforms } from "./convert-platforms.ts";
import { convertedSource } from "./converted-source.ts";
import { type CopyCounts, type CopyProgress, type CopySource, ImageCopier } from "./copy-image.ts";
import {
  type CreatedLayer,
  type CreateIndexOptions,
  type IndexedImage,
  indexImage,
  indexRecord,
  nothingIndexed,
} from "./create-index.ts";
import { type RootDocument, resolveImage } from "./image-source.ts";
import type { ImageTarget } from "./image-target.ts";
import type { ImageTree } from "./image-tree.ts";
import type { PrefetchLists } from "./prefetch-files.ts";
import { type EncodedSociIndex, encodeSociIndexV2 } from "./soci-index.ts";

/** How to convert an image. */
export interface ConvertImageOptions
  extends Omit<CreateIndexOptions, "source" | "store" | "platform"> {
  readonly source: ImageTree;
  readonly store: Store;
  readonly target: ImageTarget;
  /** Default: this machine's, or that of the only image. */
  readonly platforms?: WantedPlatforms;
  readonly onCopied?: ((progress: CopyProgress) => void) | undefined;
}

/** What was made for one platform. */
export interface ConvertedPlatform extends PrefetchLists {
  readonly platform: Platform;
  /** The image manifest's digest in the source. */
  readonly sourceDigest: string;
  /** Its digest in the target; the same if no layer was indexed. */
  readonly manifestDigest: string;
  /** Absent if no layer was indexed. */
  readonly indexDescriptor?: Descriptor;
  readonly layers: readonly CreatedLayer[];
}

/** What {@link convertImage} made. */
export interface ConvertedImage extends CopyCounts {
  /** The converted image index, which the target's name stands for now. */
  readonly descriptor: Descriptor;
  readonly source: string;
  readonly target: string;
  readonly platforms: readonly ConvertedPlatform[];
  /** Entries of the source's image index that the source does not hold; the converted one does not list them. */
  readonly leftOut: readonly Descriptor[];
}

/** A platform with its layers indexed, and its SOCI index if there is anything in it. */
interface BuiltPlatform extends ChosenPlatform {
  readonly indexed: IndexedImage;
  readonly soci: EncodedSociIndex | undefined;
}

/** The converted documents, before any of them is written. */
interface Conversion {
  readonly index: ImageIndex;
  readonly rewritten: ReadonlyMap<string, RewrittenManifest>;
  readonly leftOut: readonly Descriptor[];
}

/**
 * Writes an image anew with SOCI indexes v2 bound to it: each indexed manifest names its SOCI index, and the image index lists both, so
 * that one tag and one digest stand for all. Layers are shared, not altered. The target's name appears last; a conversion that was
 * stopped leaves blobs there and no image. The store keeps the ztocs, so that a second run goes on from there.
 * @throws AppError `not_found` for a platform that the image does not have; `failed_precondition` if no layer of any platform got a ztoc.
 */
export async function convertImage(options: ConvertImageOptions): Promise<ConvertedImage> {
  const { source, target } = options;
  const start = await openStart(source, options);
  const chosen = choosePlatforms(start, options.platforms);
  const built: BuiltPlatform[] = [];
  for (const platform of chosen) built.push(await buildPlatform(platform, options));
  const indexes = built.flatMap(platformIndex);
  if (indexes.length === 0) {
    const layers = built.flatMap(({ indexed }) => indexed.layers);
    throw nothingIndexed(source.reference, layers);
  }

  const conversion = await rewriteIndex(start, indexes, options);
  await keepIndexes(built, conversion, options);
  const copier = new ImageCopier(
    convertedParts(built, conversion, options),
    target,
    options.onCopied,
  );
  await copier.copyEntries(conversion.index.manifests, options);
  const bytes = encodeIndex(conversion.index);
  const mediaType = MEDIA_TYPE_OCI_INDEX;
  const descriptor = { mediaType, digest: sha256(bytes), size: bytes.length };
  await target.finish(descriptor, bytes, options);
  return {
    ...copier.counts,
    descriptor,
    source: source.reference,
    target: target.reference,
    platforms: built.map((platform) => convertedPlatform(platform, conversion)),
    leftOut: conversion.leftOut,
  };
}

/** The image index to start from. A single image's platform stands in its config, and nowhere else. */
async function openStart(source: ImageTree, options: IoOptions): Promise<ImageIndex> {
  const root = await source.readRoot(options);
  const document = parseManifest(root.bytes, root.descriptor.mediaType);
  const isTold = document.kind === "index" || root.descriptor.platform !== undefined;
  const platform = isTold ? undefined : await platformOf(source, root, options);
  return startIndex(root, document, platform);
}

async function platformOf(
  source: ImageTree,
  root: RootDocument,
  options: IoOptions,
): Promise<Platform> {
  const { reference } = source;
  const image = await resolveImage(root, source, { ...options, platform: undefined, reference });
  const { platform } = await image.config(options);
  return normalizePlatform(platform);
}

async function buildPlatform(
  chosen: ChosenPlatform,
  options: ConvertImageOptions,
): Promise<BuiltPlatform> {
  const { source, store } = options;
  const { reference } = source;
  const bytes = await source.readManifest(chosen.entry, options);
  const root = { descriptor: chosen.entry, bytes };
  const image = await resolveImage(root, source, { ...options, platform: undefined, reference });
  const indexed = await indexImage(image, options);
  if (indexed.ztocs.length === 0) return { ...chosen, indexed, soci: undefined };
  const soci = encodeSociIndexV2(indexed);
  await store.writeBlob(soci.bytes);
  return { ...chosen, indexed, soci };
}

function platformIndex({ platform, entry, soci }: BuiltPlatform): PlatformIndex[] {
  if (soci === undefined) return [];
  return [{ platform, manifestDigest: entry.digest, descriptor: soci.descriptor }];
}

/** Writes the manifests anew that have to be, drops what the source does not hold, and lists the SOCI indexes. */
async function rewriteIndex(
  start: ImageIndex,
  indexes: readonly PlatformIndex[],
  options: ConvertImageOptions,
): Promise<Conversion> {
  const rewritten = new Map<string, RewrittenManifest>();
  const entries: Descriptor[] = [];
  const leftOut: Descriptor[] = [];
  for (const entry of start.manifests) {
    const bytes = await readIfHeld(options.source, entry, options);
    if (bytes === undefined) {
      leftOut.push(entry);
    } else if (isRewritten(entry, indexes)) {
      const made = rewriteManifest(entry, bytes, indexes);
      rewritten.set(entry.digest, made);
      entries.push(made.entry);
    } else {
      entries.push(entry);
    }
  }
  const followed = entries.map((entry) => followRewritten(entry, rewritten));
  const manifests = addSociEntries(followed, indexes, rewritten);
  return { index: { ...start, manifests }, rewritten, leftOut };
}

/** A pull of some platforms leaves the others' manifests named and absent; registries may hold such an index, too. */
async function readIfHeld(
  source: ImageTree,
  entry: Descriptor,
  options: IoOptions,
): Promise<Uint8Array | undefined> {
  try {
    return await source.readManifest(entry, options);
  } catch (error) {
    if (AppError.from(error).code === "not_found") return undefined;
    throw error;
  }
}

/** The catalogue names the SOCI indexes and their ztocs, so that the store keeps them and lends them to the next run. */
async function keepIndexes(
  built: readonly BuiltPlatform[],
  { rewritten }: Conversion,
  { store, target }: ConvertImageOptions,
): Promise<void> {
  for (const { entry, platform, indexed, soci } of built) {
    const image = rewritten.get(entry.digest);
    if (soci === undefined || image === undefined) continue;
    const manifestDigest = image.entry.digest;
    const of = { manifestDigest, reference: target.reference, platform };
    await store.addIndex(indexRecord(soci.descriptor, indexed, of));
  }
}

function convertedParts(
  built: readonly BuiltPlatform[],
  { rewritten }: Conversion,
  { source, store }: ConvertImageOptions,
): CopySource {
  const manifests = [...rewritten.values()].map(
    ({ entry, bytes }) => [entry.digest, bytes] as const,
  );
  const made = built.flatMap(({ soci }) => (soci === undefined ? [] : [soci]));
  const sociManifests = made.map(({ descriptor, bytes }) => [descriptor.digest, bytes] as const);
  const documents = new Map([...manifests, ...sociManifests]);
  return convertedSource({
    source,
    store,
    documents,
    indexes: built.map(({ indexed }) => indexed),
  });
}

function convertedPlatform(built: BuiltPlatform, { rewritten }: Conversion): ConvertedPlatform {
  const { platform, entry, indexed, soci } = built;
  const manifestDigest = rewritten.get(entry.digest)?.entry.digest ?? entry.digest;
  const { layers, prefetchLists, filesNotFound } = indexed;
  const lists = { prefetchLists, filesNotFound };
  const made = { ...lists, platform, sourceDigest: entry.digest, manifestDigest, layers };
  return soci === undefined ? made : { ...made, indexDescriptor: soci.descriptor };
}
