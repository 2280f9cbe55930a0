// Generated from proto/ by generate-types.mjs; not to be edited.
import type { Rpc } from "../service.ts";
import type * as protobuf from "./protobuf.ts";

/** Service `containerd.services.namespaces.v1.Namespaces`. */
export interface Namespaces {
  readonly get: Rpc<"unary", GetNamespaceRequest, GetNamespaceResponse>;
  readonly list: Rpc<"unary", ListNamespacesRequest, ListNamespacesResponse>;
  readonly create: Rpc<"unary", CreateNamespaceRequest, CreateNamespaceResponse>;
  readonly delete: Rpc<"unary", DeleteNamespaceRequest, protobuf.Empty>;
}

/** Message `containerd.services.namespaces.v1.Namespace`. */
export interface Namespace {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
}

/** Message `containerd.services.namespaces.v1.GetNamespaceRequest`. */
export interface GetNamespaceRequest {
  readonly name: string;
}

/** Message `containerd.services.namespaces.v1.GetNamespaceResponse`. */
export interface GetNamespaceResponse {
  readonly namespace: Namespace | null;
}

/** Message `containerd.services.namespaces.v1.ListNamespacesRequest`. */
export interface ListNamespacesRequest {
  readonly filter: string;
}

/** Message `containerd.services.namespaces.v1.ListNamespacesResponse`. */
export interface ListNamespacesResponse {
  readonly namespaces: readonly Namespace[];
}

/** Message `containerd.services.namespaces.v1.CreateNamespaceRequest`. */
export interface CreateNamespaceRequest {
  readonly namespace: Namespace | null;
}

/** Message `containerd.services.namespaces.v1.CreateNamespaceResponse`. */
export interface CreateNamespaceResponse {
  readonly namespace: Namespace | null;
}

/** Message `containerd.services.namespaces.v1.DeleteNamespaceRequest`. */
export interface DeleteNamespaceRequest {
  readonly name: string;
}
