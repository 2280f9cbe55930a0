import { AppError } from "@soci-ts/core";
import type { SpanRange } from "@soci-ts/layer-index";
import { MANIFEST_LIMIT_BYTES, parsePlatform, type Reference } from "@soci-ts/oci";
import {
  type FoundIndex,
  fetchPrefetchList,
  findIndex,
  type ImageSource,
  type IndexMedium,
  type IndexSearch,
  layoutIndexReader,
  type PrefetchListEntry,
  parseOciLayoutName,
  parseSociIndex,
  type ResolvedImage,
  readZtocBytes,
  registryImageSource,
  type SociIndex,
  type ZtocEntry,
} from "@soci-ts/soci";
import type { IndexRecord } from "@soci-ts/store";
import type { Session } from "../wire.ts";
import { isInRegistry, registryReference } from "./registry-reference.ts";
import { resolveDigest } from "./resolve-digest.ts";

/** An image and how to read it and its ztocs. */
export interface OpenedImage {
  readonly source: ImageSource;
  readonly image: ResolvedImage;
  /** Reads a ztoc from the store or from where the image is, and checks its digest. */
  readonly readZtoc: (ztoc: ZtocEntry) => Promise<Uint8Array>;
  /** The same for a prefetch list. */
  readonly readPrefetchList: (list: PrefetchListEntry) => Promise<readonly SpanRange[]>;
}

/** An image and what a node would find as its index. */
export interface SearchedImage extends OpenedImage {
  readonly search: IndexSearch;
}

/** An index of the store and the image that it was made of. */
export interface StoredIndex extends OpenedImage {
  readonly record: IndexRecord;
  readonly index: SociIndex;
}

/** The image that `name` means, and its index: looked for as a node does, in the store first. */
export async function searchImage(
  session: Session,
  name: string,
  platformText: string | undefined,
): Promise<SearchedImage> {
  const platform = platformText === undefined ? undefined : parsePlatform(platformText);
  const { signal, logger } = session;
  const source = await session.source(name);
  const image = await source.resolve(platform, { signal });
  const { manifestDescriptor, manifest } = image;
  const place = await placeOf(session, name);
  const store = await session.store();
  const search = await findIndex({ ...place, manifestDescriptor, manifest, store, signal, logger });
  return { source, image, search, ...(await partReaders(session, place)) };
}

/** The index that a search found. @throws AppError `not_found` that says what was looked at. */
export function foundIndex(name: string, { search }: SearchedImage): FoundIndex {
  if (search.found !== undefined) return search.found;
  const looked = search.considered.map(({ digest, origin, why }) => `${digest ?? origin}: ${why}`);
  const state = looked.length === 0 ? "it has none" : `none can be used (${looked.join("; ")})`;
  throw new AppError(
    "not_found",
    `Cannot find an index of ${name}: ${state}, want one in the store or beside the image`,
  );
}

/**
 * An index of the store, by its digest or the beginning of it, with the image under whose name it was made.
 * @throws AppError `failed_precondition` if that name means another image now.
 */
export async function openStoredIndex(session: Session, text: string): Promise<StoredIndex> {
  const { signal } = session;
  const store = await session.store();
  const indexes = store.listIndexes();
  const known = indexes.map(({ digest }) => digest);
  const digest = resolveDigest("index", text, known);
  const record = indexes.find((one) => one.digest === digest) as IndexRecord;
  const index = parseSociIndex(await store.readBlob(digest, { maxBytes: MANIFEST_LIMIT_BYTES }));
  const { reference, manifestDigest, platform } = record;
  const isElsewhere = !isInRegistry(session.config, reference);
  const registryName = isElsewhere ? undefined : registryNameOf(reference);
  // A tag may have moved on; the digest has not.
  const source =
    registryName === undefined
      ? await session.source(reference)
      : registryImageSource(await session.client(), { ...registryName, digest: manifestDigest });
  const wanted = registryName === undefined ? platform : undefined;
  const image = await source.resolve(wanted, { signal });
  const now = image.manifestDescriptor.digest;
  if (now !== manifestDigest) {
    throw new AppError(
      "failed_precondition",
      `Cannot read the image of index ${digest}: ${reference} is manifest ${now} now, want ${manifestDigest}`,
    );
  }
  const readers = await partReaders(session, await placeOf(session, reference));
  return { source, image, ...readers, record, index };
}

/** True if `text` means an index of the store rather than an image: a digest, or the beginning of the hex of one that is there. */
export async function isStoredIndex(session: Session, text: string): Promise<boolean> {
  if (/^sha(256|512):[0-9a-f]*$/.test(text)) return true;
  if (!/^[0-9a-f]{4,}$/.test(text)) return false;
  const store = await session.store();
  return store.listIndexes().some(({ digest }) => digest.split(":")[1]?.startsWith(text));
}

interface Place {
  readonly client: IndexMedium;
  readonly repository: Reference;
}

/** What is not in a registry has no repository; its readers do not ask. */
const NOWHERE: Reference = { registry: "nowhere.invalid", repository: "nothing" };

/** For an image that is where no index can lie beside it: all there is is the store. */
const NO_MEDIUM: IndexMedium = {
  listReferrers: async () => [],
  fetchManifest: async ({ digest }) => nothingThere(digest),
  fetchBlob: async (_repository, { digest }) => nothingThere(digest),
};

function nothingThere(digest: string | undefined): never {
  throw new AppError("not_found", `Cannot find ${digest}: the store does not have it`);
}

/** Where indexes and ztocs of the image lie besides the store. */
async function placeOf(session: Session, name: string): Promise<Place> {
  const layout = parseOciLayoutName(name);
  if (layout !== undefined) {
    return { client: layoutIndexReader(layout.directory), repository: NOWHERE };
  }
  const repository = registryNameOf(name);
  if (repository === undefined) return { client: NO_MEDIUM, repository: NOWHERE };
  return { client: await session.client(), repository };
}

/** The image in a registry that `name` means; undefined if it is elsewhere. */
function registryNameOf(name: string): Reference | undefined {
  try {
    return registryReference("look up", name);
  } catch (error) {
    if (AppError.from(error).code === "invalid_argument") return undefined;
    throw error;
  }
}

async function partReaders(
  session: Session,
  place: Place,
): Promise<Pick<OpenedImage, "readZtoc" | "readPrefetchList">> {
  const where = { ...place, store: await session.store(), signal: session.signal };
  return {
    readZtoc: (ztoc) => readZtocBytes({ ...where, ztoc }),
    readPrefetchList: (entry) => fetchPrefetchList({ ...where, entry }),
  };
}
