export { openStore, type StoreOptions } from "./open-store.ts";
export { refuseNewerStore } from "./root-directory.ts";
export type {
  BlobRecord,
  IndexFilter,
  IndexRecord,
  PrefetchListRecord,
  ReadBlobOptions,
  Store,
  StoreDirectory,
  WriteBlobOptions,
  ZtocClaim,
  ZtocRecord,
} from "./types.ts";
