export {
  type BackupOptions,
  type BackupReport,
  backUpRegistry,
  restoreRegistry,
} from "./backup.ts";
export type { CollectionEnd, CollectorOptions } from "./collector.ts";
export { describeTarget, type TargetDescription } from "./describe-target.ts";
export { checkRegistry, type FsckOptions, type FsckReport } from "./fsck.ts";
export type { FsckFinding, Severity } from "./fsck-room.ts";
export type { GarbagePolicy, GarbageReport } from "./gc.ts";
export type { RegistryRequest, RegistryResponse, ResponseBody } from "./http.ts";
export {
  DEFAULT_POLICY,
  openRegistryServer,
  type RegistryServer,
  type RegistryServerOptions,
} from "./registry-server.ts";
