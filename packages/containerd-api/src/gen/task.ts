// Generated from proto/ by generate-types.mjs; not to be edited.
import type * as protobuf from "./protobuf.ts";

/** Enum `containerd.v1.types.Status`. A value that is not in it arrives as its number. */
export type Status = "UNKNOWN" | "CREATED" | "RUNNING" | "STOPPED" | "PAUSED" | "PAUSING";

/** Message `containerd.v1.types.Process`. */
export interface Process {
  readonly containerId: string;
  readonly id: string;
  readonly pid: number;
  readonly status: Status;
  readonly stdin: string;
  readonly stdout: string;
  readonly stderr: string;
  readonly terminal: boolean;
  readonly exitStatus: number;
  readonly exitedAt: protobuf.Timestamp | null;
}
