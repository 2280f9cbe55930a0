// Where images come from, for those who do not know yet what is to be done with one.
export { openedArchive } from "./archive-file.ts";
export {
  archiveFileImageSource,
  archiveImageSource,
  parseArchiveName,
} from "./archive-source.ts";
export {
  type ContainerdContent,
  containerdImageSource,
  parseContainerdName,
} from "./containerd-source.ts";
export type { ImageTree } from "./image-tree.ts";
export { ociLayoutImageSource, parseOciLayoutName } from "./oci-layout-source.ts";
export { registryImageSource } from "./registry-source.ts";
export { spoolArchive } from "./spool-archive.ts";
