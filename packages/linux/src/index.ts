export { ffiAvailable } from "./ffi.ts";
export { type FuseMountRequest, fuseMount, openFuseDevice } from "./fuse-mount.ts";
export { idMapMount } from "./id-map-mount.ts";
export { setImmutable } from "./immutable.ts";
export type { FileBackedSupport } from "./kernel-version.ts";
export {
  type AttachedLoop,
  attachLoop,
  type LoopDevice,
  type LoopOptions,
  listLoopDevices,
} from "./loop-device.ts";
export {
  type MountRequest,
  mount,
  type UnmountOptions,
  unmount,
  unmountInChild,
} from "./mount.ts";
export type { MountFlag } from "./mount-flags.ts";
export { findMount, findMountOf, type MountInfo, readMountTable } from "./mount-table.ts";
export { type BindFlag, bindMount, moveMount, setPropagation } from "./mount-tree.ts";
export { dropFilePages, readNothingAhead, writeOut } from "./page-cache.ts";
export { type KernelProbe, type ProbeFinding, probeKernel } from "./probe.ts";
export { canPunchHoles, punchHole } from "./punch-hole.ts";
export { erofsBackingDevices, setReadAhead } from "./read-ahead.ts";
export { mapShared } from "./shared-memory.ts";
export { runAtOnce, runWhenIdle } from "./thread-priority.ts";
export {
  closeUserNamespace,
  type IdRange,
  type IdRanges,
  openUserNamespace,
  parseIdRanges,
} from "./user-namespace.ts";
