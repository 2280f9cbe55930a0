// Generated from proto/ by generate-types.mjs; not to be edited.
import type { Rpc } from "../service.ts";
import type * as protobuf from "./protobuf.ts";
import type * as types from "./types.ts";

/** Service `containerd.services.snapshots.v1.Snapshots`. */
export interface Snapshots {
  readonly prepare: Rpc<"unary", PrepareSnapshotRequest, PrepareSnapshotResponse>;
  readonly view: Rpc<"unary", ViewSnapshotRequest, ViewSnapshotResponse>;
  readonly mounts: Rpc<"unary", MountsRequest, MountsResponse>;
  readonly commit: Rpc<"unary", CommitSnapshotRequest, protobuf.Empty>;
  readonly remove: Rpc<"unary", RemoveSnapshotRequest, protobuf.Empty>;
  readonly stat: Rpc<"unary", StatSnapshotRequest, StatSnapshotResponse>;
  readonly update: Rpc<"unary", UpdateSnapshotRequest, UpdateSnapshotResponse>;
  readonly list: Rpc<"server-stream", ListSnapshotsRequest, ListSnapshotsResponse>;
  readonly usage: Rpc<"unary", UsageRequest, UsageResponse>;
  readonly cleanup: Rpc<"unary", CleanupRequest, protobuf.Empty>;
}

/** Message `containerd.services.snapshots.v1.PrepareSnapshotRequest`. */
export interface PrepareSnapshotRequest {
  readonly snapshotter: string;
  readonly key: string;
  readonly parent: string;
  readonly labels: Readonly<Record<string, string>>;
}

/** Message `containerd.services.snapshots.v1.PrepareSnapshotResponse`. */
export interface PrepareSnapshotResponse {
  readonly mounts: readonly types.Mount[];
}

/** Message `containerd.services.snapshots.v1.ViewSnapshotRequest`. */
export interface ViewSnapshotRequest {
  readonly snapshotter: string;
  readonly key: string;
  readonly parent: string;
  readonly labels: Readonly<Record<string, string>>;
}

/** Message `containerd.services.snapshots.v1.ViewSnapshotResponse`. */
export interface ViewSnapshotResponse {
  readonly mounts: readonly types.Mount[];
}

/** Message `containerd.services.snapshots.v1.MountsRequest`. */
export interface MountsRequest {
  readonly snapshotter: string;
  readonly key: string;
}

/** Message `containerd.services.snapshots.v1.MountsResponse`. */
export interface MountsResponse {
  readonly mounts: readonly types.Mount[];
}

/** Message `containerd.services.snapshots.v1.CommitSnapshotRequest`. */
export interface CommitSnapshotRequest {
  readonly snapshotter: string;
  readonly name: string;
  readonly key: string;
  readonly labels: Readonly<Record<string, string>>;
}

/** Message `containerd.services.snapshots.v1.RemoveSnapshotRequest`. */
export interface RemoveSnapshotRequest {
  readonly snapshotter: string;
  readonly key: string;
}

/** Message `containerd.services.snapshots.v1.StatSnapshotRequest`. */
export interface StatSnapshotRequest {
  readonly snapshotter: string;
  readonly key: string;
}

/** Enum `containerd.services.snapshots.v1.Kind`. A value that is not in it arrives as its number. */
export type Kind = "UNKNOWN" | "VIEW" | "ACTIVE" | "COMMITTED";

/** Message `containerd.services.snapshots.v1.Info`. */
export interface Info {
  readonly name: string;
  readonly parent: string;
  readonly kind: Kind;
  readonly createdAt: protobuf.Timestamp | null;
  readonly updatedAt: protobuf.Timestamp | null;
  readonly labels: Readonly<Record<string, string>>;
}

/** Message `containerd.services.snapshots.v1.StatSnapshotResponse`. */
export interface StatSnapshotResponse {
  readonly info: Info | null;
}

/** Message `containerd.services.snapshots.v1.UpdateSnapshotRequest`. */
export interface UpdateSnapshotRequest {
  readonly snapshotter: string;
  readonly info: Info | null;
  readonly updateMask: protobuf.FieldMask | null;
}

/** Message `containerd.services.snapshots.v1.UpdateSnapshotResponse`. */
export interface UpdateSnapshotResponse {
  readonly info: Info | null;
}

/** Message `containerd.services.snapshots.v1.ListSnapshotsRequest`. */
export interface ListSnapshotsRequest {
  readonly snapshotter: string;
  readonly filters: readonly string[];
}

/** Message `containerd.services.snapshots.v1.ListSnapshotsResponse`. */
export interface ListSnapshotsResponse {
  readonly info: readonly Info[];
}

/** Message `containerd.services.snapshots.v1.UsageRequest`. */
export interface UsageRequest {
  readonly snapshotter: string;
  readonly key: string;
}

/** Message `containerd.services.snapshots.v1.UsageResponse`. */
export interface UsageResponse {
  readonly size: number;
  readonly inodes: number;
}

/** Message `containerd.services.snapshots.v1.CleanupRequest`. */
export interface CleanupRequest {
  readonly snapshotter: string;
}
