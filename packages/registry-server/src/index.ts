export type { RegistryRequest, RegistryResponse, ResponseBody } from "./http.ts";
export {
  openRegistryServer,
  type RegistryServer,
  type RegistryServerOptions,
} from "./registry-server.ts";
