export { type FuseMountRequest, fuseMount, openFuseDevice } from "./fuse-mount.ts";
export type { FileBackedSupport } from "./kernel-version.ts";
export {
  type MountRequest,
  mount,
  type UnmountOptions,
  unmount,
} from "./mount.ts";
export type { MountFlag } from "./mount-flags.ts";
export { findMount, type MountInfo, readMountTable } from "./mount-table.ts";
export { type KernelProbe, type ProbeFinding, probeKernel } from "./probe.ts";
export { erofsBackingDevices, setReadAhead } from "./read-ahead.ts";
