import { AppError, type Digest, displayByteString, type IoOptions } from "@soci-ts/core";
import {
  type IndexDifference,
  openZtoc,
  type VerifyZtocOptions,
  verifyZtoc,
  type ZtocVerdict,
} from "@soci-ts/layer-index";
import {
  ANNOTATION_DISABLE_XATTRS,
  ANNOTATION_LAYER_DIGEST,
  ANNOTATION_LAYER_MEDIA_TYPE,
  ANNOTATION_SPAN_SIZE,
  layerCompression,
} from "@soci-ts/oci";
import {
  type ImageSource,
  layerKey,
  type ResolvedImage,
  type SourceLayer,
} from "./image-source.ts";
import type { SociIndex, ZtocEntry } from "./soci-index.ts";
import { type VerifyPrefetchOptions, verifyPrefetchList } from "./verify-prefetch.ts";
import { wrapped } from "./wrapped.ts";

/** Which index, and of which image. */
export interface VerifyIndexOptions extends IoOptions {
  /** Where the layers are read from. */
  readonly source: Pick<ImageSource, "openBlob">;
  readonly image: ResolvedImage;
  /** Parsed from bytes with the digest that names it. */
  readonly index: SociIndex;
  /** Reads a ztoc and checks its digest. */
  readonly readZtoc: (ztoc: ZtocEntry) => Promise<Uint8Array>;
  readonly readPrefetchList: VerifyPrefetchOptions["readPrefetchList"];
  /** Checks structure and span digests only; see {@link VerifyZtocOptions.isQuick}. */
  readonly isQuick?: boolean | undefined;
  readonly engine?: VerifyZtocOptions["engine"];
  /** Told of each layer that has a ztoc: when it starts, as its bytes are read, and with `outcome` when it is done. */
  readonly onProgress?: ((progress: VerifyProgress) => void) | undefined;
}

/** How far a layer is. */
export interface VerifyProgress {
  readonly layer: SourceLayer["descriptor"];
  readonly compressedBytes: number;
  readonly outcome?: VerifiedLayer["outcome"];
}

/** What became of a layer. */
export interface VerifiedLayer {
  readonly layer: SourceLayer;
  /** `absent`: the index has no ztoc for it, so that there is nothing to verify, and its blob was not read. */
  readonly outcome: "verified" | "different" | "absent";
  readonly ztoc?: ZtocEntry | undefined;
  readonly stated?: ZtocVerdict["stated"];
  /** The layer's first difference. */
  readonly difference?: IndexDifference | undefined;
}

/** What became of an index. */
export interface IndexVerdict {
  /** In the order of the image's layers. */
  readonly layers: readonly VerifiedLayer[];
  /** The first difference: of the index as a whole, else of the lowest layer that has one. Undefined if all is as it says. */
  readonly difference: (IndexDifference & { readonly layer?: Digest }) | undefined;
}

/**
 * Proves an index against its image: manifest, config, and each layer that has a ztoc, which is read once. Layers come one after
 * the other; one that differs does not keep the others from being looked at.
 * @throws AppError if a layer or the registry can't be read, or a layer is beyond what can be scanned.
 */
export async function verifyIndex(options: VerifyIndexOptions): Promise<IndexVerdict> {
  const { layers: sourceLayers } = await options.image.config(options);
  const verdicts = new Map<string, VerifiedLayer>();
  for (const layer of sourceLayers) {
    const key = layerKey(layer);
    if (!verdicts.has(key)) verdicts.set(key, await verifyLayer(layer, options));
  }
  const layers = [...verdicts.values()];
  const different = layers.find(({ difference }) => difference !== undefined);
  return {
    layers: sourceLayers.flatMap((layer) => verdicts.get(layerKey(layer)) ?? []),
    difference:
      compareManifests(options) ??
      (different?.difference && {
        layer: different.layer.descriptor.digest,
        ...different.difference,
      }),
  };
}

/** What the index manifest says of the image as a whole. */
function compareManifests({ index, image }: VerifyIndexOptions): IndexVerdict["difference"] {
  const want = image.manifestDescriptor.digest;
  const have = index.manifest.subject?.digest;
  if (have !== want && (index.version === 1 || have !== undefined)) {
    return { part: "index", field: "subject", want, have: have ?? "none" };
  }
  const layers = new Set(image.manifest.layers.map(({ digest }) => digest));
  const stray = index.ztocs.findIndex(({ layerDigest }) => !layers.has(layerDigest));
  if (stray >= 0) {
    const field = `layers[${stray}] ${ANNOTATION_LAYER_DIGEST}`;
    const digest = index.ztocs[stray]?.layerDigest ?? "none";
    return { part: "index", field, want: "a layer of the image", have: digest };
  }
  const indexed = new Set(index.ztocs.map(({ layerDigest }) => layerDigest));
  const useless = index.prefetchLists.find(({ layerDigest }) => !indexed.has(layerDigest));
  if (useless === undefined) return undefined;
  return {
    part: "prefetch",
    field: ANNOTATION_LAYER_DIGEST,
    want: "a layer with a ztoc",
    have: useless.layerDigest,
  };
}

async function verifyLayer(
  layer: SourceLayer,
  options: VerifyIndexOptions,
): Promise<VerifiedLayer> {
  const { descriptor } = layer;
  const [ztoc, ...others] = options.index.ztocs.filter(
    ({ layerDigest }) => layerDigest === descriptor.digest,
  );
  if (ztoc === undefined) return { layer, outcome: "absent" };
  const { onProgress } = options;
  onProgress?.({ layer: descriptor, compressedBytes: 0 });
  const other = others.find((one) => one.descriptor.digest !== ztoc.descriptor.digest);
  const { stated, difference } =
    other === undefined
      ? await verifyEntry(ztoc, layer, options)
      : { stated: undefined, difference: twoZtocs(ztoc, other) };
  const outcome = difference === undefined ? "verified" : "different";
  onProgress?.({ layer: descriptor, compressedBytes: descriptor.size, outcome });
  return { layer, outcome, ztoc, stated, difference };
}

/** Readers differ in which they take. */
function twoZtocs(ztoc: ZtocEntry, other: ZtocEntry): IndexDifference {
  const have = `${ztoc.descriptor.digest} and ${other.descriptor.digest}`;
  return { part: "index", field: "ztoc", want: "one ztoc for the layer", have };
}

async function verifyEntry(
  ztoc: ZtocEntry,
  layer: SourceLayer,
  options: VerifyIndexOptions,
): Promise<ZtocVerdict> {
  const { index } = options;
  const bytes = await readZtoc(ztoc, options);
  if (!(bytes instanceof Uint8Array)) return { stated: undefined, difference: bytes };
  const verdict = await verifyBytes(bytes, layer, options);
  if (verdict.difference !== undefined || verdict.stated === undefined) return verdict;
  const { descriptor } = ztoc;
  const claims = [
    ["size", String(bytes.length), String(descriptor.size)],
    [ANNOTATION_LAYER_MEDIA_TYPE, layer.descriptor.mediaType, ztoc.layerMediaType],
    [ANNOTATION_SPAN_SIZE, String(verdict.stated.spanSizeBytes), ztoc.spanSizeBytes],
  ] as const;
  for (const [field, want, had] of claims) {
    const have = had === undefined || had === "" ? want : String(had);
    if (have !== want) return { ...verdict, difference: { part: "index", field, want, have } };
  }
  const isWithout = descriptor.annotations?.[ANNOTATION_DISABLE_XATTRS] === "true";
  const difference = isWithout ? findXattrs(bytes) : undefined;
  if (difference !== undefined) return { ...verdict, difference };
  const { spanCount } = verdict.stated;
  const list = index.prefetchLists.find((one) => one.layerDigest === layer.descriptor.digest);
  const how = { ...options, spanCount };
  return { ...verdict, difference: list && (await verifyPrefetchList(list, how)) };
}

/** The ztoc; or, as a difference, that there is none with that digest. */
async function readZtoc(
  ztoc: ZtocEntry,
  { readZtoc: read }: VerifyIndexOptions,
): Promise<Uint8Array | IndexDifference> {
  try {
    return await read(ztoc);
  } catch (error) {
    const { code, message } = AppError.from(error);
    if (code !== "not_found" && code !== "data_loss") throw error;
    return { part: "ztoc", field: "digest", want: ztoc.descriptor.digest, have: message };
  }
}

async function verifyBytes(
  ztoc: Uint8Array,
  { descriptor, diffId }: SourceLayer,
  options: VerifyIndexOptions,
): Promise<ZtocVerdict> {
  const { source, signal, isQuick, engine, onProgress } = options;
  const blob = source.openBlob(descriptor);
  try {
    return await verifyZtoc(blob.stream(0, blob.size, { signal }), {
      ztoc,
      compression: layerCompression(descriptor.mediaType),
      layerDigest: descriptor.digest,
      diffId,
      isQuick,
      engine,
      signal,
      onProgress: (compressedBytes) => onProgress?.({ layer: descriptor, compressedBytes }),
    });
  } catch (error) {
    if (signal?.aborted === true) throw error;
    const { message } = AppError.from(error);
    throw wrapped(`Cannot verify layer ${descriptor.digest}: ${message}`, error);
  }
}

/** A mount that is told that there are no xattrs shows none: the first entry to which that would matter. */
function findXattrs(bytes: Uint8Array): IndexDifference | undefined {
  let number = 0;
  for (const { name, headerOffset, paxRecords } of openZtoc(bytes).readEntries()) {
    const key = [...paxRecords.keys()].find((one) => one.startsWith("SCHILY.xattr."));
    const isOpaque = name.endsWith(".wh..wh..opq");
    if (key !== undefined || isOpaque) {
      return {
        part: "entry",
        number,
        name: displayByteString(name),
        field: ANNOTATION_DISABLE_XATTRS,
        offset: headerOffset,
        want: isOpaque ? "an opaque directory" : `xattr ${displayByteString(key ?? name)}`,
        have: "true: no entry has one",
      };
    }
    number += 1;
  }
  return undefined;
}
