/** Most bytes of a manifest or index that are read: 4 MiB, what registries accept (distribution-spec v1.1.1, §Pushing Manifests). */
export const MANIFEST_LIMIT_BYTES: number = 4 * 1024 * 1024;
/** Most bytes of an image configuration that are read: 8 MiB. */
export const IMAGE_CONFIG_LIMIT_BYTES: number = 8 * 1024 * 1024;
/** Deepest nesting of arrays and objects in a JSON document. */
export const MAX_JSON_DEPTH = 64;
/** Most layers of a manifest, and most entries of an index. */
export const MAX_DESCRIPTORS = 16_384;
/** Most annotations of one object. */
export const MAX_ANNOTATIONS = 4_096;
/** Most items of a small list (`urls`, `os.features`). */
export const MAX_LIST_ITEMS = 256;
/** Longest media type, in UTF-16 units (RFC 6838 §4.2: 127 + 1 + 127). */
export const MAX_MEDIA_TYPE_LENGTH = 255;
/** Longest repository name, in characters (distribution-spec v1.1.1, §Pulling manifests: most registries take no more). */
export const MAX_REPOSITORY_LENGTH = 255;
/** Longest host name, without the port. */
export const MAX_HOST_LENGTH = 255;
/** Longest tag. */
export const MAX_TAG_LENGTH = 128;
/** Longest reference: registry + "/" + repository + ":" + tag + "@" + sha512 digest. */
export const MAX_REFERENCE_LENGTH: number = 261 + 1 + 255 + 1 + 128 + 1 + 135;
