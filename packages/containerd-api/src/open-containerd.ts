import { createClient, type ServiceClient } from "./client.ts";
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
import {
  containersService,
  contentService,
  criImageService,
  criRuntimeService,
  diffService,
  imagesService,
  introspectionService,
  leasesService,
  namespacesService,
  snapshotsService,
  tasksService,
  versionService,
} from "./services.ts";
import { Transport } from "./transport.ts";

/** containerd's own services. */
export interface Containerd extends AsyncDisposable {
  readonly snapshots: ServiceClient<Snapshots>;
  readonly content: ServiceClient<Content>;
  readonly images: ServiceClient<Images>;
  readonly containers: ServiceClient<Containers>;
  readonly tasks: ServiceClient<Tasks>;
  readonly namespaces: ServiceClient<Namespaces>;
  readonly version: ServiceClient<Version>;
  readonly leases: ServiceClient<Leases>;
  readonly diff: ServiceClient<Diff>;
  readonly introspection: ServiceClient<Introspection>;
}

/** CRI as containerd serves it. */
export interface Cri extends AsyncDisposable {
  readonly images: ServiceClient<ImageService>;
  readonly runtime: ServiceClient<RuntimeService>;
}

/**
 * Clients of containerd behind a socket, all in one of its namespaces. Nothing is connected yet; a call fails with `unavailable` if
 * nobody listens. The caller closes it.
 * @throws AppError `invalid_argument` if no socket can have that path.
 */
export function openContainerd(
  socketPath: string,
  options: { readonly namespace: string },
): Containerd {
  const transport = new Transport(socketPath, { "containerd-namespace": options.namespace });
  return {
    snapshots: createClient(snapshotsService(), transport),
    content: createClient(contentService(), transport),
    images: createClient(imagesService(), transport),
    containers: createClient(containersService(), transport),
    tasks: createClient(tasksService(), transport),
    namespaces: createClient(namespacesService(), transport),
    version: createClient(versionService(), transport),
    leases: createClient(leasesService(), transport),
    diff: createClient(diffService(), transport),
    introspection: createClient(introspectionService(), transport),
    [Symbol.asyncDispose]: () => transport[Symbol.asyncDispose](),
  };
}

/** Clients of CRI behind a socket; otherwise as {@link openContainerd}. */
export function openCri(socketPath: string): Cri {
  const transport = new Transport(socketPath);
  return {
    images: createClient(criImageService(), transport),
    runtime: createClient(criRuntimeService(), transport),
    [Symbol.asyncDispose]: () => transport[Symbol.asyncDispose](),
  };
}
