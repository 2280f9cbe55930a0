// Generated from proto/ by generate-types.mjs; not to be edited.
import type { Rpc } from "../service.ts";
import type * as protobuf from "./protobuf.ts";

/** Service `containerd.services.leases.v1.Leases`. */
export interface Leases {
  readonly create: Rpc<"unary", CreateRequest, CreateResponse>;
  readonly delete: Rpc<"unary", DeleteRequest, protobuf.Empty>;
  readonly list: Rpc<"unary", ListRequest, ListResponse>;
}

/** Message `containerd.services.leases.v1.Lease`. */
export interface Lease {
  readonly id: string;
  readonly createdAt: protobuf.Timestamp | null;
  readonly labels: Readonly<Record<string, string>>;
}

/** Message `containerd.services.leases.v1.CreateRequest`. */
export interface CreateRequest {
  readonly id: string;
  readonly labels: Readonly<Record<string, string>>;
}

/** Message `containerd.services.leases.v1.CreateResponse`. */
export interface CreateResponse {
  readonly lease: Lease | null;
}

/** Message `containerd.services.leases.v1.DeleteRequest`. */
export interface DeleteRequest {
  readonly id: string;
  readonly sync: boolean;
}

/** Message `containerd.services.leases.v1.ListRequest`. */
export interface ListRequest {
  readonly filters: readonly string[];
}

/** Message `containerd.services.leases.v1.ListResponse`. */
export interface ListResponse {
  readonly leases: readonly Lease[];
}
