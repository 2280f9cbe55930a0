import type { Digest } from "@soci-ts/core";

/** An image of one platform, or an artifact (image-spec v1.1.1, manifest.md). */
export const MEDIA_TYPE_OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json";
/** A list of manifests, usually one for each platform (image-spec v1.1.1, image-index.md). */
export const MEDIA_TYPE_OCI_INDEX = "application/vnd.oci.image.index.v1+json";
/** The configuration of an image (image-spec v1.1.1, config.md). */
export const MEDIA_TYPE_OCI_CONFIG = "application/vnd.oci.image.config.v1+json";
/** The configuration of an artifact that has none: the two bytes `{}`. */
export const MEDIA_TYPE_OCI_EMPTY = "application/vnd.oci.empty.v1+json";
/** An uncompressed layer (image-spec v1.1.1, layer.md). */
export const MEDIA_TYPE_OCI_LAYER = "application/vnd.oci.image.layer.v1.tar";
/** A layer compressed with gzip. */
export const MEDIA_TYPE_OCI_LAYER_GZIP = "application/vnd.oci.image.layer.v1.tar+gzip";
/** A layer compressed with zstd. */
export const MEDIA_TYPE_OCI_LAYER_ZSTD = "application/vnd.oci.image.layer.v1.tar+zstd";

/** Docker's image manifest, schema 2. */
export const MEDIA_TYPE_DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json";
/** Docker's list of manifests. */
export const MEDIA_TYPE_DOCKER_MANIFEST_LIST =
  "application/vnd.docker.distribution.manifest.list.v2+json";
/** Docker's image configuration. */
export const MEDIA_TYPE_DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json";
/** Docker's uncompressed layer. */
export const MEDIA_TYPE_DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar";
/** Docker's layer compressed with gzip. */
export const MEDIA_TYPE_DOCKER_LAYER_GZIP = "application/vnd.docker.image.rootfs.diff.tar.gzip";
/** A layer compressed with zstd, as containerd names it. */
export const MEDIA_TYPE_DOCKER_LAYER_ZSTD = "application/vnd.docker.image.rootfs.diff.tar.zstd";

/** Artifact type, and config media type, of a SOCI index of version 1 (bound to its image by `subject`). */
export const MEDIA_TYPE_SOCI_INDEX_V1 = "application/vnd.amazon.soci.index.v1+json";
/** Artifact type, and config media type, of a SOCI index of version 2 (bound to its image by annotations). */
export const MEDIA_TYPE_SOCI_INDEX_V2 = "application/vnd.amazon.soci.index.v2+json";
/** Media type of a ztoc in a SOCI index. */
export const MEDIA_TYPE_ZTOC = "application/octet-stream";
/** Media type of a prefetch list in a SOCI index. */
export const MEDIA_TYPE_SOCI_PREFETCH = "application/vnd.amazon.soci.prefetch.v1+json";

/** The config blob of a SOCI index: `{}`. Do not alter. */
export const EMPTY_CONFIG: Uint8Array = Uint8Array.of(0x7b, 0x7d);
/** The digest of {@link EMPTY_CONFIG}. */
export const EMPTY_CONFIG_DIGEST: Digest =
  "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a" as Digest;

/** On a SOCI index: the tool that built it. */
export const ANNOTATION_BUILD_TOOL = "com.amazon.soci.build-tool-identifier";
/** On a ztoc's or prefetch list's descriptor: digest of the image layer it belongs to. */
export const ANNOTATION_LAYER_DIGEST = "com.amazon.soci.image-layer-digest";
/** On a ztoc's descriptor: media type of that layer, verbatim. */
export const ANNOTATION_LAYER_MEDIA_TYPE = "com.amazon.soci.image-layer-mediaType";
/** On a ztoc's descriptor: span size in bytes, decimal. */
export const ANNOTATION_SPAN_SIZE = "com.amazon.soci.span-size";
/** On a ztoc's descriptor: `true` if the layer has no xattrs and no opaque directories. */
export const ANNOTATION_DISABLE_XATTRS = "com.amazon.soci.disable-xattrs";
/** On an image manifest: digest of its SOCI index of version 2. */
export const ANNOTATION_INDEX_DIGEST = "com.amazon.soci.index-digest";
/** On the descriptor of a SOCI index of version 2: digest of its image manifest. */
export const ANNOTATION_IMAGE_MANIFEST_DIGEST = "com.amazon.soci.image-manifest-digest";

/** How a layer's tar is compressed. */
export type LayerCompression = "gzip" | "none" | "zstd";

const LAYER_COMPRESSION: ReadonlyMap<string, LayerCompression> = new Map([
  [MEDIA_TYPE_OCI_LAYER, "none"],
  [MEDIA_TYPE_OCI_LAYER_GZIP, "gzip"],
  [MEDIA_TYPE_OCI_LAYER_ZSTD, "zstd"],
  ["application/vnd.oci.image.layer.nondistributable.v1.tar", "none"],
  ["application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", "gzip"],
  ["application/vnd.oci.image.layer.nondistributable.v1.tar+zstd", "zstd"],
  [MEDIA_TYPE_DOCKER_LAYER, "none"],
  [MEDIA_TYPE_DOCKER_LAYER_GZIP, "gzip"],
  [MEDIA_TYPE_DOCKER_LAYER_ZSTD, "zstd"],
  ["application/vnd.docker.image.rootfs.foreign.diff.tar", "none"],
  ["application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", "gzip"],
]);

/** How the layer with this media type is compressed; undefined if it is not a layer that can be read. */
export function layerCompression(mediaType: string): LayerCompression | undefined {
  return LAYER_COMPRESSION.get(mediaType);
}

/** Whether the layer with this media type is not meant to be in registries, but fetched from where its descriptor's `urls` say (base layers of Windows). */
export function isForeignLayer(mediaType: string): boolean {
  return /\.layer\.nondistributable\.|\.rootfs\.foreign\./.test(mediaType);
}

/** Whether the blob with this media type is encrypted (OCIcrypt: `+encrypted`, in old images `+enc`). */
export function isEncryptedLayer(mediaType: string): boolean {
  return /\+enc(rypted)?$/.test(mediaType);
}
