export { encodeErofs } from "./encode.ts";
export {
  MAX_DEPTH,
  MAX_LINK_TARGET_BYTES,
  MAX_NAME_BYTES,
} from "./limits.ts";
export { ErofsReader } from "./reader.ts";
export type {
  ErofsAttributes,
  ErofsDevice,
  ErofsDirectory,
  ErofsDirectoryEntry,
  ErofsExtent,
  ErofsFile,
  ErofsImageOptions,
  ErofsInode,
  ErofsKind,
  ErofsNode,
  ErofsSpecial,
  ErofsSymlink,
} from "./types.ts";
