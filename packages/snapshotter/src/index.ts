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
export type { BlobOpener } from "./open-slot.ts";
export type { ImageLayer } from "./ready-layer.ts";
export { type ServeMountOptions, serveMount } from "./serve-mount.ts";
export type { ServerCommand } from "./server-process.ts";
export { type UnmountedImage, type UnmountImageOptions, unmountImage } from "./unmount-image.ts";
