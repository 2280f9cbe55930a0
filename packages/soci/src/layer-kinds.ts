import { AppError } from "@soci-ts/core";
import { type Descriptor, isEncryptedLayer, isForeignLayer, layerCompression } from "@soci-ts/oci";

/** What kind of blob a layer is, as far as its descriptor tells. */
export type LayerKind =
  | "gzip"
  | "tar"
  | "zstd"
  /** gzip with a table of contents of its own; read as any gzip layer. */
  | "eStargz"
  /** zstd with a table of contents of its own; read as any zstd layer. */
  | "zstd:chunked"
  /** Not to be distributed by registries: it may be elsewhere only. */
  | "foreign"
  | "encrypted"
  | "unknown";

const STARGZ_TOC = "containerd.io/snapshot/stargz/toc.digest";
const ZSTD_CHUNKED_MANIFEST = "io.github.containers.zstd-chunked.manifest-checksum";

/** The kind of a layer. */
export function layerKind({ mediaType, annotations = {} }: Descriptor): LayerKind {
  if (isEncryptedLayer(mediaType)) return "encrypted";
  if (isForeignLayer(mediaType)) return "foreign";
  switch (layerCompression(mediaType)) {
    case "gzip":
      return STARGZ_TOC in annotations ? "eStargz" : "gzip";
    case "zstd":
      return ZSTD_CHUNKED_MANIFEST in annotations ? "zstd:chunked" : "zstd";
    case "none":
      return "tar";
    case undefined:
      return "unknown";
  }
}

/**
 * Why a layer of this kind gets no ztoc; undefined if it can have one. Layers of eStargz and zstd:chunked are ordinary gzip and zstd layers
 * in this: their own tables of contents are not used.
 */
export function kindSkipReason(layer: Descriptor): string | undefined {
  const { mediaType, urls = [] } = layer;
  const type = `media type ${JSON.stringify(mediaType)}`;
  switch (layerKind(layer)) {
    case "foreign": {
      const where = urls.length === 0 ? "names no URL" : `names ${urls.length} other place(s)`;
      return `${type} is of a layer that registries do not distribute; its descriptor ${where}`;
    }
    case "encrypted": // refused before it comes to this (refuseEncrypted)
    case "unknown":
      return `${type} is of no known kind of layer`;
    case "zstd":
    case "zstd:chunked":
      return `${type} can't be read at an offset`;
    case "gzip":
    case "eStargz":
    case "tar":
      return undefined;
  }
}

/**
 * Refuses an image with an encrypted layer before anything of it is read: what an index of the ciphertext says holds for no file, and spans and
 * digests of the plain text would tell what the encryption hides.
 * @throws AppError `unimplemented` that names the layer.
 */
export function refuseEncrypted(layers: readonly Descriptor[], reference: string): void {
  const encrypted = layers.find(({ mediaType }) => isEncryptedLayer(mediaType));
  if (encrypted === undefined) return;
  const { digest, mediaType } = encrypted;
  throw new AppError(
    "unimplemented",
    `Cannot create an index of ${reference}: layer ${digest} is encrypted (media type ${JSON.stringify(mediaType)}), want the decrypted image`,
  );
}

/** Why an index has no ztoc for a layer, for people: builders' reasons, as far as the layer itself tells. */
export function whyNoZtoc(layer: Descriptor, minLayerSizeBytes: number): string {
  const kind = layerKind(layer);
  switch (kind) {
    case "encrypted":
      return "encrypted: no index can be made of it";
    case "zstd":
    case "zstd:chunked":
      return `${kind} can't be read at an offset`;
    case "foreign":
      return "foreign: builders leave it out";
    case "unknown":
      return "not the media type of a layer that can be read";
    case "gzip":
    case "eStargz":
    case "tar": {
      const small = layer.size < minLayerSizeBytes;
      const why = `: builders leave out layers below ${minLayerSizeBytes} bytes`;
      return `the index has no ztoc for it${small ? why : ""}`;
    }
  }
}
