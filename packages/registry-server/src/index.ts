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
export type { Peer, RegistryRequest, RegistryResponse, ResponseBody } from "./http.ts";
export {
  openRegistryServer,
  type RegistryServer,
  type RegistryServerOptions,
} from "./registry-server.ts";
