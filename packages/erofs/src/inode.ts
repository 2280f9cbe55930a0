import { FormatError } from "@soci-ts/core";
import {
  BLOCK_BYTES,
  CHUNK_INDEX_BYTES,
  COMPACT,
  EROFS_CHUNK_FORMAT_BLKBITS_MASK,
  EROFS_CHUNK_FORMAT_INDEXES,
  EROFS_INODE_CHUNK_BASED,
  EROFS_INODE_FLAT_INLINE,
  EROFS_INODE_FLAT_PLAIN,
  EXTENDED,
  FORMAT_NAME,
  KINDS,
  MAX_XATTR_BODY_BYTES,
  SLOT_BYTES,
  XATTR_HEADER_BYTES,
} from "./format.ts";
import { decodeDevice, getUint64 } from "./numbers.ts";
import type { ErofsInode, ErofsKind } from "./types.ts";

/** An inode and where its parts lie. Every range is inside the image. */
export interface ParsedInode {
  readonly inode: ErofsInode;
  /** The 32-byte form: the inode's time is the super block's epoch, not the zero here. */
  readonly isCompact: boolean;
  /** Start of the inode, in bytes. */
  readonly offset: number;
  /** Start and length of the inline xattr body; length 0 if there are no xattrs. */
  readonly xattrOffset: number;
  readonly xattrBytes: number;
  /** Of directories and links: where the data's blocks start, and how many of its bytes are there. */
  readonly blockOffset: number;
  readonly blockBytes: number;
  /** Of directories and links: where the rest of the data starts. */
  readonly tailOffset: number;
  /** Of regular files that have bytes: the chunk indexes. */
  readonly chunks: ChunkTable | undefined;
}

/** A file's chunk indexes. */
export interface ChunkTable {
  readonly offset: number;
  readonly count: number;
  readonly chunkBytes: number;
}

const KIND_BY_MODE: ReadonlyMap<number, ErofsKind> = new Map(
  Object.entries(KINDS).map(([kind, { modeBits }]) => [modeBits, kind as ErofsKind]),
);

/**
 * Reads the inode `nid` of an image whose metadata area starts at byte `metaOffset`.
 * @throws FormatError if there is none, or one of a form that the writer does not make.
 */
export function parseInode(view: DataView, metaOffset: number, nid: number): ParsedInode {
  const offset = metaOffset + nid * SLOT_BYTES;
  if (!Number.isSafeInteger(nid) || nid < 1 || offset + COMPACT.bytes > view.byteLength) {
    throw new FormatError(FORMAT_NAME, 0, `inode ${nid} lies outside the ${view.byteLength} bytes`);
  }
  const format = view.getUint16(offset, true);
  const isCompact = (format & 1) === 0;
  const dataLayout = format >> 1;
  const head = isCompact ? COMPACT : EXTENDED;
  if (offset + head.bytes > view.byteLength) fault(offset, `inode ${nid} is cut off`);
  const inode = isCompact ? parseCompact(view, offset, nid) : parseExtended(view, offset, nid);
  const xattrCount = view.getUint16(offset + head.xattrCount, true);
  const xattrBytes = xattrCount === 0 ? 0 : XATTR_HEADER_BYTES + 4 * (xattrCount - 1);
  const bodyEnd = offset + head.bytes + xattrBytes;
  if (xattrBytes > MAX_XATTR_BODY_BYTES || bodyEnd > view.byteLength) {
    fault(offset, `the xattrs of inode ${nid} are cut off`);
  }
  const base = { inode, isCompact, offset, xattrOffset: offset + head.bytes, xattrBytes };
  const union = view.getUint32(offset + head.union, true);
  if (inode.kind === "reg" && inode.sizeBytes > 0) {
    if (dataLayout !== EROFS_INODE_CHUNK_BASED) faultLayout(offset, nid, dataLayout);
    const chunks = chunkTable(view, bodyEnd, union, inode);
    return { ...base, blockOffset: 0, blockBytes: 0, tailOffset: 0, chunks };
  }
  if (dataLayout !== EROFS_INODE_FLAT_PLAIN && dataLayout !== EROFS_INODE_FLAT_INLINE) {
    faultLayout(offset, nid, dataLayout);
  }
  const flat = flatRanges(view, bodyEnd, {
    inode,
    union,
    isInline: dataLayout === EROFS_INODE_FLAT_INLINE,
  });
  return { ...base, ...flat, chunks: undefined };
}

function parseExtended(view: DataView, offset: number, nid: number): ErofsInode {
  const mtimeNsec = view.getUint32(offset + EXTENDED.mtimeNsec, true);
  if (mtimeNsec > 999_999_999) fault(offset, `inode ${nid} has ${mtimeNsec} nanoseconds`);
  return {
    ...parseKind(view, offset, { nid, union: view.getUint32(offset + EXTENDED.union, true) }),
    nid,
    uid: view.getUint32(offset + EXTENDED.uid, true),
    gid: view.getUint32(offset + EXTENDED.gid, true),
    nlink: view.getUint32(offset + EXTENDED.nlink, true),
    sizeBytes: getUint64(view, offset + EXTENDED.size),
    mtimeSec: getInt64(view, offset + EXTENDED.mtimeSec),
    mtimeNsec,
  };
}

function parseCompact(view: DataView, offset: number, nid: number): ErofsInode {
  if (view.getUint32(offset + COMPACT.mtime, true) !== 0)
    fault(offset, `inode ${nid} has a relative time`);
  return {
    ...parseKind(view, offset, { nid, union: view.getUint32(offset + COMPACT.union, true) }),
    nid,
    uid: view.getUint16(offset + COMPACT.uid, true),
    gid: view.getUint16(offset + COMPACT.gid, true),
    nlink: view.getUint16(offset + COMPACT.nlink, true),
    sizeBytes: view.getUint32(offset + COMPACT.size, true),
    mtimeSec: 0,
    mtimeNsec: 0,
  };
}

function parseKind(
  view: DataView,
  offset: number,
  { nid, union }: { nid: number; union: number },
): Pick<ErofsInode, "kind" | "mode" | "devmajor" | "devminor"> {
  const bits = view.getUint16(offset + EXTENDED.mode, true);
  const kind = KIND_BY_MODE.get(bits & 0o170000);
  if (kind === undefined)
    fault(offset, `inode ${nid} has mode 0${bits.toString(8)}, which names no kind of file`);
  const isDevice = kind === "char" || kind === "block";
  const device = isDevice ? decodeDevice(union) : { major: 0, minor: 0 };
  return { kind, mode: bits & 0o7777, devmajor: device.major, devminor: device.minor };
}

function flatRanges(
  view: DataView,
  bodyEnd: number,
  { inode, union, isInline }: { inode: ErofsInode; union: number; isInline: boolean },
): { blockOffset: number; blockBytes: number; tailOffset: number } {
  const size = inode.kind === "dir" || inode.kind === "symlink" ? inode.sizeBytes : 0;
  const tailBytes = isInline ? size % BLOCK_BYTES : 0;
  const blockBytes = size - tailBytes;
  const blockOffset = union * BLOCK_BYTES;
  if (blockBytes > 0 && blockOffset + blockBytes > view.byteLength) {
    fault(
      bodyEnd,
      `the data of inode ${inode.nid} ends at byte ${blockOffset + blockBytes} of ${view.byteLength}`,
    );
  }
  if (bodyEnd + tailBytes > view.byteLength || (bodyEnd % BLOCK_BYTES) + tailBytes > BLOCK_BYTES) {
    fault(bodyEnd, `the inline data of inode ${inode.nid} crosses the end of its block`);
  }
  return { blockOffset, blockBytes, tailOffset: bodyEnd };
}

function chunkTable(
  view: DataView,
  bodyEnd: number,
  format: number,
  inode: ErofsInode,
): ChunkTable {
  if ((format & ~EROFS_CHUNK_FORMAT_BLKBITS_MASK) !== EROFS_CHUNK_FORMAT_INDEXES) {
    fault(
      bodyEnd,
      `inode ${inode.nid} has chunk format 0x${format.toString(16)}, want 8-byte indexes`,
    );
  }
  const chunkBytes = BLOCK_BYTES * 2 ** (format & EROFS_CHUNK_FORMAT_BLKBITS_MASK);
  const count = Math.ceil(inode.sizeBytes / chunkBytes);
  const offset = Math.ceil(bodyEnd / CHUNK_INDEX_BYTES) * CHUNK_INDEX_BYTES;
  if (offset + count * CHUNK_INDEX_BYTES > view.byteLength) {
    fault(bodyEnd, `the ${count} chunk indexes of inode ${inode.nid} are cut off`);
  }
  return { offset, count, chunkBytes };
}

function getInt64(view: DataView, offset: number): number {
  const value = Number(view.getBigInt64(offset, true));
  if (!Number.isSafeInteger(value)) fault(offset, `time ${value} is out of range`);
  return value;
}

function faultLayout(offset: number, nid: number, dataLayout: number): never {
  fault(
    offset,
    `inode ${nid} has data layout ${dataLayout}, want flat data, or chunks for regular files`,
  );
}

function fault(offset: number, message: string): never {
  throw new FormatError(FORMAT_NAME, offset, message);
}
