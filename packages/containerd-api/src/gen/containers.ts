// Generated from proto/ by generate-types.mjs; not to be edited.
import type { Rpc } from "../service.ts";
import type * as protobuf from "./protobuf.ts";

/** Service `containerd.services.containers.v1.Containers`. */
export interface Containers {
  readonly get: Rpc<"unary", GetContainerRequest, GetContainerResponse>;
  readonly list: Rpc<"unary", ListContainersRequest, ListContainersResponse>;
  readonly create: Rpc<"unary", CreateContainerRequest, CreateContainerResponse>;
  readonly delete: Rpc<"unary", DeleteContainerRequest, protobuf.Empty>;
}

/** Message `containerd.services.containers.v1.Container`. */
export interface Container {
  readonly id: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly image: string;
  readonly runtime: ContainerRuntime | null;
  readonly spec: protobuf.Any | null;
  readonly snapshotter: string;
  readonly snapshotKey: string;
  readonly createdAt: protobuf.Timestamp | null;
  readonly updatedAt: protobuf.Timestamp | null;
  readonly extensions: Readonly<Record<string, protobuf.Any>>;
}

/** Message `containerd.services.containers.v1.Container.Runtime`. */
export interface ContainerRuntime {
  readonly name: string;
  readonly options: protobuf.Any | null;
}

/** Message `containerd.services.containers.v1.GetContainerRequest`. */
export interface GetContainerRequest {
  readonly id: string;
}

/** Message `containerd.services.containers.v1.GetContainerResponse`. */
export interface GetContainerResponse {
  readonly container: Container | null;
}

/** Message `containerd.services.containers.v1.ListContainersRequest`. */
export interface ListContainersRequest {
  readonly filters: readonly string[];
}

/** Message `containerd.services.containers.v1.ListContainersResponse`. */
export interface ListContainersResponse {
  readonly containers: readonly Container[];
}

/** Message `containerd.services.containers.v1.CreateContainerRequest`. */
export interface CreateContainerRequest {
  readonly container: Container | null;
}

/** Message `containerd.services.containers.v1.CreateContainerResponse`. */
export interface CreateContainerResponse {
  readonly container: Container | null;
}

/** Message `containerd.services.containers.v1.DeleteContainerRequest`. */
export interface DeleteContainerRequest {
  readonly id: string;
}
