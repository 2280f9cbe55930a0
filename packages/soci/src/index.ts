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
  type ConvertedImage,
  type ConvertedPlatform,
  type ConvertImageOptions,
  convertImage,
} from "./convert-image.ts";
export type { WantedPlatforms } from "./convert-platforms.ts";
export type { CopyCounts, CopyProgress } from "./copy-image.ts";
export {
  type CreatedIndex,
  type CreatedLayer,
  type CreateIndexOptions,
  createIndex,
  DEFAULT_MIN_LAYER_SIZE_BYTES,
  type LayerProgress,
} from "./create-index.ts";
export { eachPlatform, type PlatformChoice, type PlatformOutcome } from "./each-platform.ts";
export {
  type FetchPrefetchListOptions,
  type FetchPrefetchListsOptions,
  fetchPrefetchList,
  fetchPrefetchLists,
} from "./fetch-prefetch-list.ts";
export {
  type FetchZtocOptions,
  fetchZtoc,
  type ReadZtocOptions,
  readZtocBytes,
} from "./fetch-ztoc.ts";
export { type FetchZtocsOptions, fetchZtocs, type LayerZtoc } from "./fetch-ztocs.ts";
export {
  type FindIndexOptions,
  type FoundIndex,
  findIndex,
  type IndexReader,
  type IndexSearch,
} from "./find-index.ts";
export type {
  DocumentReader,
  ImageBlob,
  ImageLayersConfig,
  ImageSource,
  ResolvedImage,
  RootDocument,
  SourceLayer,
} from "./image-source.ts";
export {
  type BlobOutcome,
  type ImageTarget,
  type ImageWriter,
  type PutBlobOptions,
  registryImageTarget,
} from "./image-target.ts";
export type { ImageTree } from "./image-tree.ts";
export type { LayerOutcome } from "./index-layer.ts";
export type { ConsideredIndex, IndexOrigin } from "./index-places.ts";
export {
  type InspectedImage,
  type InspectedLayer,
  type InspectImageOptions,
  inspectImage,
  type LargeFile,
} from "./inspect-image.ts";
export type { ReuseOptions } from "./known-ztoc.ts";
export { type LayerKind, layerKind } from "./layer-kinds.ts";
export { type IndexMedium, layoutIndexReader } from "./layout-index-reader.ts";
export {
  type OciLayoutName,
  ociLayoutImageSource,
  parseOciLayoutName,
} from "./oci-layout-source.ts";
export { ociLayoutImageTarget } from "./oci-layout-target.ts";
export type { PrefetchLists } from "./prefetch-files.ts";
export { encodePrefetchList, parsePrefetchList } from "./prefetch-list.ts";
export {
  type IndexPusher,
  type PushedIndex,
  type PushIndexOptions,
  type PushProgress,
  pushIndex,
} from "./push-index.ts";
export { type ImageReader, registryImageSource } from "./registry-source.ts";
export {
  type PrefetchListEntry,
  parseSociIndex,
  type SociIndex,
  type ZtocEntry,
} from "./soci-index.ts";
export { spoolArchive } from "./spool-archive.ts";
export { matchTrust, type TrustPolicy, type TrustRule } from "./trust-policy.ts";
export {
  type IndexVerdict,
  type VerifiedLayer,
  type VerifyIndexOptions,
  type VerifyProgress,
  verifyIndex,
} from "./verify-index.ts";
