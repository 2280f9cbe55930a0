export type {
  IdMappedMounts,
  IdMapping,
  Labels,
  LayerOutcome,
  LayerRequest,
  LayerStep,
  LayerStory,
  Mount,
  NodeLayers,
  PrepareOutcome,
  SnapshotInfo,
  SnapshotKind,
  SnapshotService,
  UpdateMask,
  Usage,
} from "./contract/types.ts";
export { type ChooseDoorOptions, chooseDoor, type DoorChoice } from "./doors.ts";
export { type MountedImage, type MountImageOptions, mountImage } from "./mount-image.ts";
export type { Door, JsonValue } from "./mount-record.ts";
export type { MountStats } from "./mount-stats.ts";
export { type ImageWorkerOptions, runImageWorker } from "./node/image-worker.ts";
export { type KeeperOptions, runKeeper } from "./node/keeper.ts";
export type { LayerMounter } from "./node/layer-mounts.ts";
export { callLocal, type LocalHandlers, serveLocalCalls } from "./node/local-call.ts";
export { MountHelper, type MountHelperOptions, startMountHelper } from "./node/mount-helper.ts";
export type { HelperCommand } from "./node/mount-helper-process.ts";
export { type LazyNodeLayers, type NodeLayersOptions, openNodeLayers } from "./node/node-layers.ts";
export { type NodePaths, nodePaths } from "./node/node-paths.ts";
export { runMountHelper } from "./node/run-mount-helper.ts";
export { type ServeLayersOptions, serveLayers } from "./node/serve-layers.ts";
export type { ServerStats } from "./node/server-stats.ts";
export type { SlotStats } from "./node/slot-files.ts";
export type { OpenBlobs } from "./node/source-blob.ts";
export { stopKeeper } from "./node/start-keeper.ts";
export type { BlobOpener } from "./open-slot.ts";
export type { ImageLayer } from "./ready-layer.ts";
export { type ServeMountOptions, serveMount } from "./serve-mount.ts";
export type { ServerCommand } from "./server-process.ts";
export { type UnmountedImage, type UnmountImageOptions, unmountImage } from "./unmount-image.ts";
