export type {
  ErofsAttributes,
  ErofsDevice,
  ErofsDirectory,
  ErofsFile,
  ErofsImageOptions,
  ErofsNode,
  ErofsSpecial,
  ErofsSymlink,
} from "./types.ts";
