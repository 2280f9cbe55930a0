// Generated from proto/ by generate-types.mjs; not to be edited.
import type * as protobuf from "./protobuf.ts";

/** Message `google.rpc.Status`. */
export interface Status {
  readonly code: number;
  readonly message: string;
  readonly details: readonly protobuf.Any[];
}
