export { type DockerArchiveImage, parseDockerArchiveManifest } from "./docker-archive.ts";
export { encodeIndex, encodeManifest } from "./encode-manifest.ts";
export { type ImageConfig, parseImageConfig } from "./image-config.ts";
export { IMAGE_CONFIG_LIMIT_BYTES, MANIFEST_LIMIT_BYTES } from "./limits.ts";
export {
  ANNOTATION_BUILD_TOOL,
  ANNOTATION_DISABLE_XATTRS,
  ANNOTATION_IMAGE_MANIFEST_DIGEST,
  ANNOTATION_INDEX_DIGEST,
  ANNOTATION_LAYER_DIGEST,
  ANNOTATION_LAYER_MEDIA_TYPE,
  ANNOTATION_SPAN_SIZE,
  EMPTY_CONFIG,
  EMPTY_CONFIG_DIGEST,
  type LayerCompression,
  layerCompression,
  MEDIA_TYPE_DOCKER_CONFIG,
  MEDIA_TYPE_DOCKER_LAYER,
  MEDIA_TYPE_DOCKER_LAYER_GZIP,
  MEDIA_TYPE_DOCKER_LAYER_ZSTD,
  MEDIA_TYPE_DOCKER_MANIFEST,
  MEDIA_TYPE_DOCKER_MANIFEST_LIST,
  MEDIA_TYPE_OCI_CONFIG,
  MEDIA_TYPE_OCI_EMPTY,
  MEDIA_TYPE_OCI_INDEX,
  MEDIA_TYPE_OCI_LAYER,
  MEDIA_TYPE_OCI_LAYER_GZIP,
  MEDIA_TYPE_OCI_LAYER_ZSTD,
  MEDIA_TYPE_OCI_MANIFEST,
  MEDIA_TYPE_SOCI_INDEX_V1,
  MEDIA_TYPE_SOCI_INDEX_V2,
  MEDIA_TYPE_SOCI_PREFETCH,
  MEDIA_TYPE_ZTOC,
} from "./media-types.ts";
export { parseManifest } from "./parse-manifest.ts";
export {
  formatPlatform,
  hostPlatform,
  isImageEntry,
  parsePlatform,
  selectManifest,
} from "./platform.ts";
export {
  formatReference,
  parseReference,
  type Reference,
  type RepositoryName,
} from "./reference.ts";
export type {
  Annotations,
  Descriptor,
  ImageIndex,
  Manifest,
  ParsedManifest,
  Platform,
} from "./types.ts";
