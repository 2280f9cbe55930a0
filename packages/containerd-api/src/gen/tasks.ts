// Generated from proto/ by generate-types.mjs; not to be edited.
import type { Rpc } from "../service.ts";
import type * as protobuf from "./protobuf.ts";
import type * as task from "./task.ts";
import type * as types from "./types.ts";

/** Service `containerd.services.tasks.v1.Tasks`. */
export interface Tasks {
  readonly create: Rpc<"unary", CreateTaskRequest, CreateTaskResponse>;
  readonly start: Rpc<"unary", StartRequest, StartResponse>;
  readonly delete: Rpc<"unary", DeleteTaskRequest, DeleteResponse>;
  readonly get: Rpc<"unary", GetRequest, GetResponse>;
  readonly kill: Rpc<"unary", KillRequest, protobuf.Empty>;
  readonly wait: Rpc<"unary", WaitRequest, WaitResponse>;
}

/** Message `containerd.services.tasks.v1.CreateTaskRequest`. */
export interface CreateTaskRequest {
  readonly containerId: string;
  readonly rootfs: readonly types.Mount[];
  readonly stdin: string;
  readonly stdout: string;
  readonly stderr: string;
  readonly terminal: boolean;
  readonly checkpoint: types.Descriptor | null;
  readonly options: protobuf.Any | null;
  readonly runtimePath: string;
}

/** Message `containerd.services.tasks.v1.CreateTaskResponse`. */
export interface CreateTaskResponse {
  readonly containerId: string;
  readonly pid: number;
}

/** Message `containerd.services.tasks.v1.StartRequest`. */
export interface StartRequest {
  readonly containerId: string;
  readonly execId: string;
}

/** Message `containerd.services.tasks.v1.StartResponse`. */
export interface StartResponse {
  readonly pid: number;
}

/** Message `containerd.services.tasks.v1.DeleteTaskRequest`. */
export interface DeleteTaskRequest {
  readonly containerId: string;
}

/** Message `containerd.services.tasks.v1.DeleteResponse`. */
export interface DeleteResponse {
  readonly id: string;
  readonly pid: number;
  readonly exitStatus: number;
  readonly exitedAt: protobuf.Timestamp | null;
}

/** Message `containerd.services.tasks.v1.GetRequest`. */
export interface GetRequest {
  readonly containerId: string;
  readonly execId: string;
}

/** Message `containerd.services.tasks.v1.GetResponse`. */
export interface GetResponse {
  readonly process: task.Process | null;
}

/** Message `containerd.services.tasks.v1.KillRequest`. */
export interface KillRequest {
  readonly containerId: string;
  readonly execId: string;
  readonly signal: number;
  readonly all: boolean;
}

/** Message `containerd.services.tasks.v1.WaitRequest`. */
export interface WaitRequest {
  readonly containerId: string;
  readonly execId: string;
}

/** Message `containerd.services.tasks.v1.WaitResponse`. */
export interface WaitResponse {
  readonly exitStatus: number;
  readonly exitedAt: protobuf.Timestamp | null;
}
