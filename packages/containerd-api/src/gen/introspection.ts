// Generated from proto/ by generate-types.mjs; not to be edited.
import type { Rpc } from "../service.ts";
import type * as protobuf from "./protobuf.ts";
import type * as rpc from "./rpc.ts";
import type * as types from "./types.ts";

/** Service `containerd.services.introspection.v1.Introspection`. */
export interface Introspection {
  readonly plugins: Rpc<"unary", PluginsRequest, PluginsResponse>;
  readonly server: Rpc<"unary", protobuf.Empty, ServerResponse>;
}

/** Message `containerd.services.introspection.v1.Plugin`. */
export interface Plugin {
  readonly type: string;
  readonly id: string;
  readonly requires: readonly string[];
  readonly platforms: readonly types.Platform[];
  readonly exports: Readonly<Record<string, string>>;
  readonly capabilities: readonly string[];
  readonly initErr: rpc.Status | null;
}

/** Message `containerd.services.introspection.v1.PluginsRequest`. */
export interface PluginsRequest {
  readonly filters: readonly string[];
}

/** Message `containerd.services.introspection.v1.PluginsResponse`. */
export interface PluginsResponse {
  readonly plugins: readonly Plugin[];
}

/** Message `containerd.services.introspection.v1.ServerResponse`. */
export interface ServerResponse {
  readonly uuid: string;
}
