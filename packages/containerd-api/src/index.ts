export { type ClientMethod, createClient, type ServiceClient } from "./client.ts";
export type * as containersApi from "./gen/containers.ts";
export type * as contentApi from "./gen/content.ts";
export type * as criApi from "./gen/cri.ts";
export type * as imagesApi from "./gen/images.ts";
export type * as protobufApi from "./gen/protobuf.ts";
export type * as snapshotsApi from "./gen/snapshots.ts";
export type * as tasksApi from "./gen/tasks.ts";
export type * as typesApi from "./gen/types.ts";
export { type Containerd, type Cri, openContainerd, openCri } from "./open-containerd.ts";
export {
  type CallContext,
  type FailureListener,
  type Handler,
  type Handlers,
  implementService,
} from "./server.ts";
export type { Rpc, RpcShape, Sendable, Service } from "./service.ts";
export { criImageService, criRuntimeService, snapshotsService } from "./services.ts";
export { checkSocketPath, MAX_SOCKET_PATH_BYTES } from "./socket-path.ts";
export { errorOfStatus, statusOfError } from "./status.ts";
export { type CallOptions, Transport } from "./transport.ts";
