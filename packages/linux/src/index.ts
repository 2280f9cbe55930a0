export { ffiAvailable } from "./ffi.ts";
export { type FuseMountRequest, fuseDeviceFix, fuseMount, openFuseDevice } from "./fuse-mount.ts";
export { erofsFileBackedSupport, type FileBackedSupport } from "./kernel-version.ts";
export {
  MAX_MOUNT_DATA_BYTES,
  type MountRequest,
  mount,
  type UnmountOptions,
  unmount,
} from "./mount.ts";
export type { MountFlag } from "./mount-flags.ts";
export { findMount, type MountInfo, parseMountTable, readMountTable } from "./mount-table.ts";
export { type KernelProbe, type ProbeFinding, probeKernel } from "./probe.ts";
export { erofsBackingDevices, setReadAhead } from "./read-ahead.ts";
