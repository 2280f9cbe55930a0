// Generated from proto/ by generate-types.mjs; not to be edited.
import type { Rpc } from "../service.ts";
import type * as protobuf from "./protobuf.ts";

/** Service `containerd.services.version.v1.Version`. */
export interface Version {
  readonly version: Rpc<"unary", protobuf.Empty, VersionResponse>;
}

/** Message `containerd.services.version.v1.VersionResponse`. */
export interface VersionResponse {
  readonly version: string;
  readonly revision: string;
}
