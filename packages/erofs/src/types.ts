import type { ByteString } from "@soci-ts/core";

/** What every file in an EROFS image has. */
export interface ErofsAttributes {
  /** Permissions with set-id and sticky bits, 0–0o7777, without the type bits. */
  mode: number;
  uid: number;
  gid: number;
  mtimeSec: number;
  mtimeNsec: number;
  /** Full names (`user.foo`, `security.capability`, `trusted.overlay.opaque`), raw values. */
  xattrs: Map<ByteString, ByteString>;
}

/** A directory: `children` in any order. */
export interface ErofsDirectory extends ErofsAttributes {
  readonly kind: "dir";
  readonly children: Map<ByteString, ErofsNode>;
}

/** A regular file whose bytes lie on one of the image's data devices. */
export interface ErofsFile extends ErofsAttributes {
  readonly kind: "reg";
  readonly sizeBytes: number;
  /** Index into {@link ErofsImageOptions.devices}; 0 is the layer's own uncompressed tar. */
  readonly device: number;
  /** Offset on that device; a multiple of 512. */
  readonly dataOffset: number;
}

/** A symbolic link. */
export interface ErofsSymlink extends ErofsAttributes {
  readonly kind: "symlink";
  readonly target: ByteString;
}

/** A device node, a fifo or a socket. `char` 0:0 is overlayfs's whiteout. */
export interface ErofsSpecial extends ErofsAttributes {
  readonly kind: "char" | "block" | "fifo" | "socket";
  readonly devmajor: number;
  readonly devminor: number;
}

/** A file of any kind. One object that stands in several places is one inode with several names (hard links). */
export type ErofsNode = ErofsDirectory | ErofsFile | ErofsSymlink | ErofsSpecial;

/** A data device: the bytes that regular files point into. */
export interface ErofsDevice {
  /** Length in bytes; rounded up to the block size in the image. */
  readonly sizeBytes: number;
  /** Shown by tools; at most 64 bytes. */
  readonly tag?: string;
}

/** What an image is made with, besides its tree. */
export interface ErofsImageOptions {
  readonly devices: readonly ErofsDevice[];
  /** 16 bytes; derived from content by the caller, so that equal input gives equal images. */
  readonly uuid?: Uint8Array;
}

/** The kinds of file. */
export type ErofsKind = ErofsNode["kind"];

/** An inode as the reader gives it: what `stat` shows. */
export interface ErofsInode {
  /** Number of the inode in its image, never 0: what directory entries name, and what the kernel shows as inode number. */
  readonly nid: number;
  readonly kind: ErofsKind;
  /** Permissions with set-id and sticky bits, without the type bits. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly nlink: number;
  /** Bytes of a file's content, of a directory's entries, or of a link's target; 0 for other kinds. */
  readonly sizeBytes: number;
  readonly mtimeSec: number;
  readonly mtimeNsec: number;
  /** Of `char` and `block`; else 0. */
  readonly devmajor: number;
  readonly devminor: number;
}

/** An entry of a directory, `.` and `..` included. */
export interface ErofsDirectoryEntry {
  readonly name: ByteString;
  readonly nid: number;
  readonly kind: ErofsKind;
  /** Where to go on after this entry; stays valid as long as the image. */
  readonly nextCookie: number;
}

/** Where a regular file's bytes lie. */
export interface ErofsExtent {
  /** Index into the image's devices, from 0. */
  readonly device: number;
  readonly offset: number;
  readonly sizeBytes: number;
}
