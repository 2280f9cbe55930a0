import { type ByteString, byteStringBytes } from "@soci-ts/core";
import type { FuseAttributes, FuseDirectoryEntry, FuseFileType } from "./handler.ts";
import { initReply, type Negotiated } from "./init.ts";
import { FOPEN_CACHE_DIR, FOPEN_KEEP_CACHE, FUSE_NOTIFY_INVAL_INODE } from "./protocol.ts";
import { encodeStruct } from "./struct.ts";
import {
  FUSE_ATTR,
  FUSE_ATTR_OUT,
  FUSE_DIRENT,
  FUSE_ENTRY_OUT,
  FUSE_GETXATTR_OUT,
  FUSE_INIT_OUT,
  FUSE_NOTIFY_INVAL_INODE_OUT,
  FUSE_OPEN_OUT,
  FUSE_OUT_HEADER,
  FUSE_STATFS_OUT,
} from "./structs.ts";

/** How long the kernel may believe names and attributes: content is immutable, so ten days, which is "until unmounted". */
export const VALID_SEC = 864_000;

/** File type numbers as they stand in `st_mode` (shifted by 12) and in directory entries. */
export const TYPE_NUMBERS: Readonly<Record<FuseFileType, number>> = {
  fifo: 1,
  char: 2,
  dir: 4,
  block: 6,
  reg: 8,
  symlink: 10,
  socket: 12,
};

/** The 16 bytes before every reply. `errno` is positive or 0. */
export function encodeOutHeader(unique: bigint, errno: number, payloadBytes: number): Uint8Array {
  const { bytes, view } = allocate(FUSE_OUT_HEADER.sizeBytes);
  encodeStruct(FUSE_OUT_HEADER, view, 0, {
    len: bytes.length + payloadBytes,
    error: -errno,
    unique,
  });
  return bytes;
}

/** A notification without a body: what a server may tell the kernel unasked. */
export function encodeNotification(code: number): Uint8Array {
  const { bytes, view } = allocate(FUSE_OUT_HEADER.sizeBytes);
  encodeStruct(FUSE_OUT_HEADER, view, 0, { len: bytes.length, error: code, unique: 0n });
  return bytes;
}

/** Pages of a file; `lengthBytes` is above 0. */
export interface PageRange {
  readonly nodeId: number;
  readonly offset: number;
  readonly lengthBytes: number;
}

/** The notification that has the kernel drop pages. */
export function encodeForgetPages({ nodeId, offset, lengthBytes }: PageRange): Uint8Array {
  const { bytes, view } = allocate(
    FUSE_OUT_HEADER.sizeBytes + FUSE_NOTIFY_INVAL_INODE_OUT.sizeBytes,
  );
  const header = { len: bytes.length, error: FUSE_NOTIFY_INVAL_INODE, unique: 0n };
  encodeStruct(FUSE_OUT_HEADER, view, 0, header);
  const body = { ino: nodeId, off: offset, len: lengthBytes };
  encodeStruct(FUSE_NOTIFY_INVAL_INODE_OUT, view, FUSE_OUT_HEADER.sizeBytes, body);
  return bytes;
}

/** The answer to INIT. */
export function encodeInit(negotiated: Negotiated): Uint8Array {
  const { bytes, view } = allocate(FUSE_INIT_OUT.sizeBytes);
  encodeStruct(FUSE_INIT_OUT, view, 0, initReply(negotiated));
  return bytes;
}

/** Bytes of a `fuse_entry_out`: 40 + 88. */
const ENTRY_BYTES = FUSE_ENTRY_OUT.sizeBytes + FUSE_ATTR.sizeBytes;

/** The answer to LOOKUP; without attributes it is "no such name", which the kernel remembers as long as names. */
export function encodeEntry(attributes: FuseAttributes | undefined): Uint8Array {
  const { bytes, view } = allocate(ENTRY_BYTES);
  if (attributes === undefined) encodeStruct(FUSE_ENTRY_OUT, view, 0, { entry_valid: VALID_SEC });
  else writeEntry(view, 0, attributes);
  return bytes;
}

/** The answer to GETATTR. */
export function encodeAttributes(attributes: FuseAttributes): Uint8Array {
  const { bytes, view } = allocate(FUSE_ATTR_OUT.sizeBytes + FUSE_ATTR.sizeBytes);
  encodeStruct(FUSE_ATTR_OUT, view, 0, { attr_valid: VALID_SEC });
  writeAttributes(view, FUSE_ATTR_OUT.sizeBytes, attributes);
  return bytes;
}

/** The answer to OPEN and OPENDIR: no handle, and what is cached stays cached. */
export function encodeOpen(): Uint8Array {
  const { bytes, view } = allocate(FUSE_OPEN_OUT.sizeBytes);
  encodeStruct(FUSE_OPEN_OUT, view, 0, { open_flags: FOPEN_KEEP_CACHE | FOPEN_CACHE_DIR });
  return bytes;
}

/** The answer to GETXATTR and LISTXATTR that ask for the size only. */
export function encodeXattrSize(sizeBytes: number): Uint8Array {
  const { bytes, view } = allocate(FUSE_GETXATTR_OUT.sizeBytes);
  encodeStruct(FUSE_GETXATTR_OUT, view, 0, { size: sizeBytes });
  return bytes;
}

/** The names of extended attributes, each with a zero byte after it. */
export function encodeXattrNames(names: readonly ByteString[]): Uint8Array {
  return Buffer.from(names.map((name) => `${name}\0`).join(""), "latin1");
}

/** The answer to STATFS: an empty file system that takes names of up to 255 bytes. */
export function encodeStatfs(): Uint8Array {
  const { bytes, view } = allocate(FUSE_STATFS_OUT.sizeBytes);
  encodeStruct(FUSE_STATFS_OUT, view, 0, { bsize: 4096, frsize: 4096, namelen: 255 });
  return bytes;
}

/** An entry for READDIR, or with `attributes` for READDIRPLUS. */
export interface DirectoryRow {
  readonly entry: FuseDirectoryEntry;
  /** For READDIRPLUS; `undefined` for `.` and `..`, whose nodes the kernel does not take from there. */
  readonly attributes?: FuseAttributes | undefined;
  /** Where the next READDIR goes on: the place after this entry. */
  readonly nextOffset: number;
}

/** Bytes that an entry takes in the answer; a multiple of 8. */
export function directoryRowBytes(entry: FuseDirectoryEntry, plus: boolean): number {
  const unpadded = FUSE_DIRENT.sizeBytes + entry.name.length;
  return (plus ? ENTRY_BYTES : 0) + Math.ceil(unpadded / 8) * 8;
}

/** The answer to READDIR or READDIRPLUS. */
export function encodeDirectory(rows: readonly DirectoryRow[], plus: boolean): Uint8Array {
  const sizeBytes = rows.reduce((sum, { entry }) => sum + directoryRowBytes(entry, plus), 0);
  const { bytes, view } = allocate(sizeBytes);
  let at = 0;
  for (const { entry, attributes, nextOffset } of rows) {
    let dirent = at;
    if (plus) {
      if (attributes !== undefined) writeEntry(view, at, attributes);
      dirent += ENTRY_BYTES;
    }
    encodeStruct(FUSE_DIRENT, view, dirent, {
      ino: entry.nodeId,
      off: nextOffset,
      namelen: entry.name.length,
      type: TYPE_NUMBERS[entry.type],
    });
    bytes.set(byteStringBytes(entry.name), dirent + FUSE_DIRENT.sizeBytes);
    at += directoryRowBytes(entry, plus);
  }
  return bytes;
}

function writeEntry(view: DataView, offset: number, attributes: FuseAttributes): void {
  encodeStruct(FUSE_ENTRY_OUT, view, offset, {
    nodeid: attributes.nodeId,
    entry_valid: VALID_SEC,
    attr_valid: VALID_SEC,
  });
  writeAttributes(view, offset + FUSE_ENTRY_OUT.sizeBytes, attributes);
}

function writeAttributes(view: DataView, offset: number, attributes: FuseAttributes): void {
  const { mtimeSec, mtimeNsec, sizeBytes } = attributes;
  encodeStruct(FUSE_ATTR, view, offset, {
    ino: attributes.nodeId,
    size: sizeBytes,
    blocks: Math.ceil(sizeBytes / 512),
    atime: mtimeSec,
    mtime: mtimeSec,
    ctime: mtimeSec,
    atimensec: mtimeNsec,
    mtimensec: mtimeNsec,
    ctimensec: mtimeNsec,
    mode: attributes.mode | (TYPE_NUMBERS[attributes.type] << 12),
    nlink: attributes.nlink,
    uid: attributes.uid,
    gid: attributes.gid,
    rdev: encodeDevice(attributes.devmajor, attributes.devminor),
    blksize: 4096,
  });
}

/** A device number in 32 bits, as the kernel's `new_encode_dev`: minor's low byte, 12 bits of major, minor's other 12 bits. */
export function encodeDevice(major: number, minor: number): number {
  return ((minor & 0xff) | ((major & 0xfff) << 8) | ((minor & 0xfff00) << 12)) >>> 0;
}

function allocate(sizeBytes: number): { bytes: Uint8Array; view: DataView } {
  const bytes = new Uint8Array(sizeBytes);
  return { bytes, view: new DataView(bytes.buffer) };
}
