import { type Digest, FormatError, isDigest, sha256 } from "@soci-ts/core";
import { DEFAULT_BUILD_TOOL } from "@soci-ts/layer-index/ztoc";
import {
  ANNOTATION_BUILD_TOOL,
  ANNOTATION_LAYER_DIGEST,
  ANNOTATION_LAYER_MEDIA_TYPE,
  ANNOTATION_SPAN_SIZE,
  type Descriptor,
  EMPTY_CONFIG,
  EMPTY_CONFIG_DIGEST,
  encodeManifest,
  type Manifest,
  MEDIA_TYPE_OCI_MANIFEST,
  MEDIA_TYPE_SOCI_INDEX_V1,
  MEDIA_TYPE_SOCI_INDEX_V2,
  MEDIA_TYPE_SOCI_PREFETCH,
  MEDIA_TYPE_ZTOC,
  parseManifest,
} from "@soci-ts/oci";

/** A ztoc as an index manifest lists it. */
export interface ZtocEntry {
  readonly descriptor: Descriptor;
  /** The image layer that it describes (the compressed blob). */
  readonly layerDigest: Digest;
  readonly layerMediaType: string;
  /** What the index says the span size is; the ztoc itself decides. Absent if the index does not say. */
  readonly spanSizeBytes: number | undefined;
}

/** A SOCI index: version 1 refers to the image manifest by `subject`, version 2 is named by an annotation of the manifest. */
export interface SociIndex {
  readonly version: 1 | 2;
  readonly manifest: Manifest;
  /** In the order of the image's layers; layers without a ztoc are simply absent. */
  readonly ztocs: readonly ZtocEntry[];
  /** Lists of spans to fetch early, at most one for a layer. */
  readonly prefetchLists: readonly PrefetchListEntry[];
}

/** What an index manifest is made of. */
export interface SociIndexParts {
  /** In the order of the image's layers. */
  readonly ztocs: readonly {
    readonly digest: Digest;
    readonly sizeBytes: number;
    readonly layer: Descriptor;
    readonly spanSizeBytes: number;
    /** False if it was made elsewhere. Default true; the index does not say it. */
    readonly builtHere?: boolean;
  }[];
  /** The lists of spans to fetch early, in the order of the image's layers. */
  readonly prefetchLists?: readonly PrefetchListEntry[] | undefined;
}

/** A prefetch list as an index manifest lists it. */
export interface PrefetchListEntry {
  readonly digest: Digest;
  readonly sizeBytes: number;
  /** The image layer whose spans it names. */
  readonly layerDigest: Digest;
}

/** An index manifest's exact bytes and the descriptor that names them. */
export interface EncodedSociIndex {
  readonly descriptor: Descriptor;
  readonly bytes: Uint8Array;
}

/**
 * The manifest of a SOCI index v1, in the bytes that Go's marshaller would give: readers re-marshal it and refuse other
 * bytes.
 * @param subject - the platform's image manifest, never the multi-platform index.
 */
export function encodeSociIndexV1(subject: Descriptor, parts: SociIndexParts): EncodedSociIndex {
  return encodeSociIndex(MEDIA_TYPE_SOCI_INDEX_V1, parts, subject);
}

/** The manifest of a SOCI index v2, likewise. It does not say whose it is: the image's manifest names it. */
export function encodeSociIndexV2(parts: SociIndexParts): EncodedSociIndex {
  return encodeSociIndex(MEDIA_TYPE_SOCI_INDEX_V2, parts);
}

function encodeSociIndex(
  artifactType: string,
  parts: SociIndexParts,
  subject?: Descriptor,
): EncodedSociIndex {
  const bytes = encodeManifest({
    schemaVersion: 2,
    mediaType: MEDIA_TYPE_OCI_MANIFEST,
    config: { ...emptyConfigDescriptor(), mediaType: artifactType },
    layers: [
      ...parts.ztocs.map((ztoc) => ({
        mediaType: MEDIA_TYPE_ZTOC,
        digest: ztoc.digest,
        size: ztoc.sizeBytes,
        annotations: {
          [ANNOTATION_LAYER_DIGEST]: ztoc.layer.digest,
          [ANNOTATION_LAYER_MEDIA_TYPE]: ztoc.layer.mediaType,
          [ANNOTATION_SPAN_SIZE]: String(ztoc.spanSizeBytes),
        },
      })),
      ...(parts.prefetchLists ?? []).map(({ digest, sizeBytes, layerDigest }) => ({
        mediaType: MEDIA_TYPE_SOCI_PREFETCH,
        digest,
        size: sizeBytes,
        annotations: { [ANNOTATION_LAYER_DIGEST]: layerDigest },
      })),
    ],
    subject: subject && {
      mediaType: subject.mediaType,
      digest: subject.digest,
      size: subject.size,
    },
    annotations: { [ANNOTATION_BUILD_TOOL]: DEFAULT_BUILD_TOOL },
  });
  const descriptor = { digest: sha256(bytes), size: bytes.length, artifactType };
  return { bytes, descriptor: { mediaType: MEDIA_TYPE_OCI_MANIFEST, ...descriptor } };
}

/**
 * Reads the manifest of a SOCI index, of either version. Layers of kinds to come are passed over, and so are prefetch lists that do
 * not say whose they are: nothing depends on them.
 * @throws FormatError if the bytes are not a manifest, not a SOCI index, or a ztoc entry lacks what names its layer.
 */
export function parseSociIndex(bytes: Uint8Array): SociIndex {
  const document = parseManifest(bytes, MEDIA_TYPE_OCI_MANIFEST);
  if (document.kind !== "manifest") {
    throw new FormatError("SOCI index", 0, "it is an image index, want a manifest");
  }
  const { manifest } = document;
  const version = sociVersion(manifest.config.mediaType);
  if (version === undefined) {
    throw new FormatError(
      "SOCI index",
      0,
      `the config has media type ${JSON.stringify(manifest.config.mediaType)}, want ${JSON.stringify(MEDIA_TYPE_SOCI_INDEX_V1)} or v2`,
    );
  }
  const ztocs = manifest.layers.filter((layer) => layer.mediaType === MEDIA_TYPE_ZTOC);
  return { version, manifest, ztocs: ztocs.map(ztocEntry), prefetchLists: prefetchLists(manifest) };
}

/** Says which version a config's media type or an artifact type stands for; `undefined` if it is no SOCI index. */
export function sociVersion(artifactType: string): 1 | 2 | undefined {
  if (artifactType === MEDIA_TYPE_SOCI_INDEX_V1) return 1;
  if (artifactType === MEDIA_TYPE_SOCI_INDEX_V2) return 2;
  return undefined;
}

/** The descriptor of the two bytes `{}` that stand as config of every SOCI index. */
export function emptyConfigDescriptor(): Descriptor {
  return {
    mediaType: MEDIA_TYPE_SOCI_INDEX_V1,
    digest: EMPTY_CONFIG_DIGEST,
    size: EMPTY_CONFIG.length,
  };
}

function prefetchLists(manifest: Manifest): PrefetchListEntry[] {
  const lists = new Map<Digest, PrefetchListEntry>();
  for (const { mediaType, digest, size, annotations } of manifest.layers) {
    const layerDigest = annotations?.[ANNOTATION_LAYER_DIGEST];
    if (mediaType !== MEDIA_TYPE_SOCI_PREFETCH || layerDigest === undefined) continue;
    // The first one counts, as with the reference.
    if (!isDigest(layerDigest) || lists.has(layerDigest)) continue;
    lists.set(layerDigest, { digest, sizeBytes: size, layerDigest });
  }
  return [...lists.values()];
}

function ztocEntry(descriptor: Descriptor): ZtocEntry {
  const annotations = descriptor.annotations ?? {};
  const layerDigest = annotations[ANNOTATION_LAYER_DIGEST];
  if (layerDigest === undefined || !isDigest(layerDigest)) {
    throw new FormatError(
      "SOCI index",
      0,
      `ztoc ${descriptor.digest} has ${JSON.stringify(layerDigest)} as ${ANNOTATION_LAYER_DIGEST}, want a digest`,
    );
  }
  const spanSize = annotations[ANNOTATION_SPAN_SIZE];
  return {
    descriptor,
    layerDigest,
    layerMediaType: annotations[ANNOTATION_LAYER_MEDIA_TYPE] ?? "",
    spanSizeBytes:
      spanSize !== undefined && /^\d{1,15}$/.test(spanSize) ? Number(spanSize) : undefined,
  };
}
