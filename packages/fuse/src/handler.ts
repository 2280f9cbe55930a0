import type { ByteString, ReadOptions } from "@soci-ts/core";

/** What a node is. */
export type FuseFileType = "reg" | "dir" | "symlink" | "char" | "block" | "fifo" | "socket";

/** What stat(2) shows of a node. Content is immutable, so the one time stands for all three. */
export interface FuseAttributes {
  /** Names the node and is its inode number. Above 0, at most 2^53 − 1; {@link FUSE_ROOT_ID} is the root. */
  readonly nodeId: number;
  readonly type: FuseFileType;
  /** Permissions with set-id and sticky bits, 0–0o7777. */
  readonly mode: number;
  readonly sizeBytes: number;
  readonly nlink: number;
  readonly uid: number;
  readonly gid: number;
  readonly mtimeSec: number;
  readonly mtimeNsec: number;
  readonly devmajor: number;
  readonly devminor: number;
}

/** One name in a directory, `.` and `..` included. */
export interface FuseDirectoryEntry {
  readonly name: ByteString;
  readonly nodeId: number;
  readonly type: FuseFileType;
}

/** A value now or later. */
export type Awaitable<T> = T | Promise<T>;

/**
 * A read-only file system whose content never changes. Nodes are named by numbers that stay valid for the life of the mount and
 * longer: there is no opening, no closing and no forgetting, so a process that takes a mount over needs no state.
 *
 * Methods throw `FuseError` or `AppError`; both reach the caller as an errno. None may touch the mount it serves.
 */
export interface FuseHandler {
  /** The node `name` in a directory, or `undefined` if there is none (which the kernel remembers). */
  lookup(parent: number, name: ByteString): Awaitable<FuseAttributes | undefined>;
  /** The attributes of a node. */
  getAttributes(nodeId: number): Awaitable<FuseAttributes>;
  /** The target of a symbolic link. */
  readLink(nodeId: number): Awaitable<Uint8Array>;
  /**
   * Bytes of a regular file: `length` of them, fewer only where the file ends. The signal aborts when the reader was killed or the
   * deadline is over; the reply does not wait for the method then. The bytes may be put into `options.into`; they are sent before it is used again.
   */
  read(nodeId: number, offset: number, length: number, options: ReadOptions): Awaitable<Uint8Array>;
  /** All names in a directory, in an order that does not change. Called again for each piece that the kernel asks for. */
  readDirectory(nodeId: number): Awaitable<readonly FuseDirectoryEntry[]>;
  /** The value of an extended attribute by its full name, or `undefined` if there is none. */
  getXattr(nodeId: number, name: ByteString): Awaitable<Uint8Array | undefined>;
  /** The full names of all extended attributes. */
  listXattrs(nodeId: number): Awaitable<readonly ByteString[]>;
}
