export { type ContainerdConfig, containerdConfig1 } from "./containerd-config.ts";
export {
  type ContainerdNode,
  type ContainerdNodeOptions,
  startContainerdNode,
  writeRegistryHosts,
} from "./containerd-node.ts";
export { type ContainerdPrograms, findContainerds } from "./containerd-programs.ts";
export {
  buildDebianImage,
  type DebianImageOptions,
  debianSkipReason,
} from "./debian.ts";
export { type Fault, type FaultProxy, type SeenRequest, startFaultProxy } from "./fault-proxy.ts";
export { type HostileReader, succeeds, testHostileReaders } from "./hostile.ts";
export {
  type BuiltImage,
  type BuiltLayerBlob,
  gzipLayer,
  type ImageRunConfig,
  type LayoutDescriptor,
  layerOf,
  type PlacedLayer,
  pushLayout,
  readLayoutBlob,
  writeImage,
  writeLayout,
} from "./layout.ts";
export {
  makeProgramFolder,
  mountsBelow,
  processesNaming,
  removeProgramFolder,
  removeTree,
  unmountBelow,
} from "./leftovers.ts";
export { type MutateOptions, mutate } from "./mutate.ts";
export {
  type CommandResult,
  command,
  freePort,
  hasProgram,
  startChild,
  stopChild,
} from "./process.ts";
export {
  type RegistryOptions,
  type RunningRegistry,
  startDockerRegistry,
  startEmbeddedRegistry,
} from "./registries.ts";
export { type LinkCounts, type LinkOptions, type SlowLink, startSlowLink } from "./slow-link.ts";
export {
  type DaemonRole,
  type RunningSnapshotter,
  snapshotterMounts,
  startSnapshotter,
} from "./snapshotter.ts";
export { buildTar, seededBytes, seededRandom, type TarItem } from "./tar-builder.ts";
export { compareTrees, scanTree, type TreeEntry } from "./tree.ts";
export {
  type RunningContainerd,
  startContainerd,
  umociUnpack,
} from "./unpackers.ts";
