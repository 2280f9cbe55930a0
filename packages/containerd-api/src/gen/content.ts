// Generated from proto/ by generate-types.mjs; not to be edited.
import type { Rpc } from "../service.ts";
import type * as protobuf from "./protobuf.ts";

/** Service `containerd.services.content.v1.Content`. */
export interface Content {
  readonly info: Rpc<"unary", InfoRequest, InfoResponse>;
  readonly list: Rpc<"server-stream", ListContentRequest, ListContentResponse>;
  readonly delete: Rpc<"unary", DeleteContentRequest, protobuf.Empty>;
  readonly read: Rpc<"server-stream", ReadContentRequest, ReadContentResponse>;
  readonly write: Rpc<"duplex", WriteContentRequest, WriteContentResponse>;
  readonly abort: Rpc<"unary", AbortRequest, protobuf.Empty>;
}

/** Message `containerd.services.content.v1.Info`. */
export interface Info {
  readonly digest: string;
  readonly size: number;
  readonly createdAt: protobuf.Timestamp | null;
  readonly updatedAt: protobuf.Timestamp | null;
  readonly labels: Readonly<Record<string, string>>;
}

/** Message `containerd.services.content.v1.InfoRequest`. */
export interface InfoRequest {
  readonly digest: string;
}

/** Message `containerd.services.content.v1.InfoResponse`. */
export interface InfoResponse {
  readonly info: Info | null;
}

/** Message `containerd.services.content.v1.ListContentRequest`. */
export interface ListContentRequest {
  readonly filters: readonly string[];
}

/** Message `containerd.services.content.v1.ListContentResponse`. */
export interface ListContentResponse {
  readonly info: readonly Info[];
}

/** Message `containerd.services.content.v1.DeleteContentRequest`. */
export interface DeleteContentRequest {
  readonly digest: string;
}

/** Message `containerd.services.content.v1.ReadContentRequest`. */
export interface ReadContentRequest {
  readonly digest: string;
  readonly offset: number;
  readonly size: number;
}

/** Message `containerd.services.content.v1.ReadContentResponse`. */
export interface ReadContentResponse {
  readonly offset: number;
  readonly data: Buffer;
}

/** Enum `containerd.services.content.v1.WriteAction`. A value that is not in it arrives as its number. */
export type WriteAction = "STAT" | "WRITE" | "COMMIT";

/** Message `containerd.services.content.v1.WriteContentRequest`. */
export interface WriteContentRequest {
  readonly action: WriteAction;
  readonly ref: string;
  readonly total: number;
  readonly expected: string;
  readonly offset: number;
  readonly data: Buffer;
  readonly labels: Readonly<Record<string, string>>;
}

/** Message `containerd.services.content.v1.WriteContentResponse`. */
export interface WriteContentResponse {
  readonly action: WriteAction;
  readonly startedAt: protobuf.Timestamp | null;
  readonly updatedAt: protobuf.Timestamp | null;
  readonly offset: number;
  readonly total: number;
  readonly digest: string;
}

/** Message `containerd.services.content.v1.AbortRequest`. */
export interface AbortRequest {
  readonly ref: string;
}
