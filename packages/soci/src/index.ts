export { type ArchiveFile, openedArchive, pathArchive } from "./archive-file.ts";
export {
  type ArchiveKind,
  type ArchiveName,
  type ArchiveSourceOptions,
  archiveFileImageSource,
  archiveImageSource,
  parseArchiveName,
} from "./archive-source.ts";
export {
  type ContainerdContent,
  containerdImageSource,
  parseContainerdName,
} from "./containerd-source.ts";
export {
  type CreatedIndex,
  type CreatedLayer,
  type CreateIndexOptions,
  createIndex,
  DEFAULT_MIN_LAYER_SIZE_BYTES,
  type LayerProgress,
} from "./create-index.ts";
export { eachPlatform, type PlatformChoice, type PlatformOutcome } from "./each-platform.ts";
export { type FetchZtocOptions, fetchZtoc } from "./fetch-ztoc.ts";
export { type FetchZtocsOptions, fetchZtocs, type LayerZtoc } from "./fetch-ztocs.ts";
export {
  type FindIndexOptions,
  type FoundIndex,
  findIndex,
  type IndexReader,
  type IndexSearch,
} from "./find-index.ts";
export type {
  ImageBlob,
  ImageLayersConfig,
  ImageSource,
  ResolvedImage,
  SourceLayer,
} from "./image-source.ts";
export { type ImageTree, isImageTree } from "./image-tree.ts";
export type { LayerOutcome } from "./index-layer.ts";
export type { ConsideredIndex, IndexOrigin } from "./index-places.ts";
export {
  type OciLayoutName,
  ociLayoutImageSource,
  parseOciLayoutName,
} from "./oci-layout-source.ts";
export {
  type IndexPusher,
  type PushedIndex,
  type PushIndexOptions,
  type PushProgress,
  pushIndex,
} from "./push-index.ts";
export { type ImageReader, registryImageSource } from "./registry-source.ts";
export { parseSociIndex, type SociIndex, type ZtocEntry } from "./soci-index.ts";
export { spoolArchive } from "./spool-archive.ts";
export { matchTrust, type TrustPolicy, type TrustRule } from "./trust-policy.ts";
