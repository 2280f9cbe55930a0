export {
  type CreatedIndex,
  type CreatedLayer,
  type CreateIndexOptions,
  createIndex,
  DEFAULT_MIN_LAYER_SIZE_BYTES,
  type LayerProgress,
} from "./create-index.ts";
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
  ImageBlob,
  ImageLayersConfig,
  ImageSource,
  ResolvedImage,
  SourceLayer,
} from "./image-source.ts";
export type { LayerOutcome } from "./index-layer.ts";
export type { ConsideredIndex, IndexOrigin } from "./index-places.ts";
export {
  type InspectedImage,
  type InspectedLayer,
  type InspectImageOptions,
  inspectImage,
  type LargeFile,
} from "./inspect-image.ts";
export { type LayerKind, layerKind } from "./layer-kind.ts";
export { type IndexMedium, layoutIndexReader } from "./layout-index-reader.ts";
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
export { matchTrust, type TrustPolicy, type TrustRule } from "./trust-policy.ts";
export {
  type IndexVerdict,
  type VerifiedLayer,
  type VerifyIndexOptions,
  type VerifyProgress,
  verifyIndex,
} from "./verify-index.ts";
