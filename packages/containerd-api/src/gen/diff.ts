// Generated from proto/ by generate-types.mjs; not to be edited.
import type { Rpc } from "../service.ts";
import type * as protobuf from "./protobuf.ts";
import type * as types from "./types.ts";

/** Service `containerd.services.diff.v1.Diff`. */
export interface Diff {
  readonly apply: Rpc<"unary", ApplyRequest, ApplyResponse>;
}

/** Message `containerd.services.diff.v1.ApplyRequest`. */
export interface ApplyRequest {
  readonly diff: types.Descriptor | null;
  readonly mounts: readonly types.Mount[];
  readonly payloads: Readonly<Record<string, protobuf.Any>>;
}

/** Message `containerd.services.diff.v1.ApplyResponse`. */
export interface ApplyResponse {
  readonly applied: types.Descriptor | null;
}
