export { Access, type AccessOptions, openAccess } from "./access/access.ts";
export type { RegistryFacts } from "./access/facts.ts";
export type { RegistryHandler } from "./access/guard.ts";
export {
  ACTIONS,
  type AccessRule,
  type Action,
  ANONYMOUS,
  ANY_USER,
  type UserGroup,
} from "./access/rules.ts";
export type { TokenEndpoint } from "./access/token-endpoint.ts";
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
export type { Peer, RegistryRequest, RegistryResponse, ResponseBody } from "./http.ts";
export {
  DEFAULT_POLICY,
  openRegistryServer,
  type RegistryServer,
  type RegistryServerOptions,
} from "./registry-server.ts";
export { type Companion, openCompanion } from "./upstream/companion.ts";
export type { CompanionOptions, UpstreamOptions } from "./upstream/options.ts";
export { isUpstreamName } from "./upstream/upstream.ts";
