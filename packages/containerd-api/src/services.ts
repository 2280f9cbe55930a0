import type { Containers } from "./gen/containers.ts";
import type { Content } from "./gen/content.ts";
import type { ImageService, RuntimeService } from "./gen/cri.ts";
import type { Diff } from "./gen/diff.ts";
import type { Images } from "./gen/images.ts";
import type { Introspection } from "./gen/introspection.ts";
import type { Leases } from "./gen/leases.ts";
import type { Namespaces } from "./gen/namespaces.ts";
import type { Snapshots } from "./gen/snapshots.ts";
import type { Tasks } from "./gen/tasks.ts";
import type { Version } from "./gen/version.ts";
import { loadService, type Service } from "./service.ts";

/** `containerd.services.snapshots.v1.Snapshots`, to be served or called. */
export function snapshotsService(): Service<Snapshots> {
  return loadService("snapshots", "containerd.services.snapshots.v1.Snapshots");
}

/** `containerd.services.content.v1.Content`. */
export function contentService(): Service<Content> {
  return loadService("content", "containerd.services.content.v1.Content");
}

/** `containerd.services.images.v1.Images`. */
export function imagesService(): Service<Images> {
  return loadService("images", "containerd.services.images.v1.Images");
}

/** `containerd.services.containers.v1.Containers`. */
export function containersService(): Service<Containers> {
  return loadService("containers", "containerd.services.containers.v1.Containers");
}

/** `containerd.services.tasks.v1.Tasks`. */
export function tasksService(): Service<Tasks> {
  return loadService("tasks", "containerd.services.tasks.v1.Tasks");
}

/** `containerd.services.namespaces.v1.Namespaces`. */
export function namespacesService(): Service<Namespaces> {
  return loadService("namespaces", "containerd.services.namespaces.v1.Namespaces");
}

/** `containerd.services.version.v1.Version`. */
export function versionService(): Service<Version> {
  return loadService("version", "containerd.services.version.v1.Version");
}

/** `containerd.services.leases.v1.Leases`. */
export function leasesService(): Service<Leases> {
  return loadService("leases", "containerd.services.leases.v1.Leases");
}

/** `containerd.services.diff.v1.Diff`. */
export function diffService(): Service<Diff> {
  return loadService("diff", "containerd.services.diff.v1.Diff");
}

/** `containerd.services.introspection.v1.Introspection`. */
export function introspectionService(): Service<Introspection> {
  return loadService("introspection", "containerd.services.introspection.v1.Introspection");
}

/** `runtime.v1.ImageService` of CRI, to be served or called. */
export function criImageService(): Service<ImageService> {
  return loadService("criImage", "runtime.v1.ImageService");
}

/** `runtime.v1.RuntimeService` of CRI. */
export function criRuntimeService(): Service<RuntimeService> {
  return loadService("criRuntime", "runtime.v1.RuntimeService");
}
