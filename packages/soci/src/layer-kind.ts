import { type Descriptor, layerCompression } from "@soci-ts/oci";

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
  if (mediaType.endsWith("+encrypted")) return "encrypted";
  if (/\.(nondistributable|foreign)\./.test(mediaType)) return "foreign";
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
