export type { RegistryRequest, RegistryResponse, ResponseBody } from "./http.ts";
export {
  openRegistryServer,
  type RegistryServer,
  type RegistryServerOptions,
} from "./registry-server.ts";
export { type Companion, openCompanion } from "./upstream/companion.ts";
export type { RequestHandler } from "./upstream/local.ts";
export type { CompanionOptions, UpstreamOptions } from "./upstream/options.ts";
