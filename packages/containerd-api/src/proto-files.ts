import { fileURLToPath } from "node:url";
import type { Options } from "@grpc/proto-loader";

/** The files of `proto/` that hold services, by what they are called here. */
export const PROTO_FILES = {
  snapshots: "containerd/snapshots.proto",
  content: "containerd/content.proto",
  images: "containerd/images.proto",
  containers: "containerd/containers.proto",
  tasks: "containerd/tasks.proto",
  namespaces: "containerd/namespaces.proto",
  version: "containerd/version.proto",
  leases: "containerd/leases.proto",
  diff: "containerd/diff.proto",
  introspection: "containerd/introspection.proto",
  criImage: "cri/image.proto",
  criRuntime: "cri/runtime.proto",
} as const;

/**
 * How messages look in JavaScript: camelCase fields that are all there, 64-bit integers as numbers (sizes and times fit), enums by name,
 * `null` for a message that was not sent.
 */
export const LOADER_OPTIONS: Options = {
  includeDirs: [fileURLToPath(new URL("../../../proto/", import.meta.url))],
  longs: Number,
  enums: String,
  defaults: true,
  arrays: true,
  objects: true,
};
