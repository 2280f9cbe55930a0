import { AppError, roundUp } from "@soci-ts/core";
import { directoryBlocks, writeDirectoryBlock } from "./directory-blocks.ts";
import {
  BLOCK_BITS,
  BLOCK_BYTES,
  CHUNK_INDEX_BYTES,
  COMPACT,
  DEVICE,
  EROFS_CHUNK_FORMAT_INDEXES,
  EROFS_FEATURE_COMPAT_MTIME,
  EROFS_FEATURE_INCOMPAT_CHUNKED_FILE,
  EROFS_FEATURE_INCOMPAT_DEVICE_TABLE,
  EROFS_INODE_CHUNK_BASED,
  EROFS_INODE_FLAT_INLINE,
  EROFS_INODE_FLAT_PLAIN,
  EROFS_SUPER_MAGIC_V1,
  EROFS_SUPER_OFFSET,
  EXTENDED,
  KINDS,
  SLOT_BYTES,
  SUPER,
} from "./format.ts";
import { type DirectoryListing, type Inventory, takeInventory } from "./inventory.ts";
import { chunkBits, chunkCount, type Layout, planLayout } from "./layout.ts";
import { MAX_DEVICE_BYTES, MAX_DEVICES } from "./limits.ts";
import { encodeDevice, setByteString, setInt64 } from "./numbers.ts";
import type {
  ErofsDevice,
  ErofsDirectory,
  ErofsFile,
  ErofsImageOptions,
  ErofsNode,
} from "./types.ts";
import { writeXattrs } from "./xattrs.ts";

interface Image {
  readonly bytes: Uint8Array;
  readonly view: DataView;
  readonly inventory: Inventory;
  readonly layout: Layout;
}

const DEVICE_TABLE_OFFSET = EROFS_SUPER_OFFSET + SUPER.size;

/**
 * Writes the metadata of a tree as an EROFS image: everything but the bytes of regular files, which lie on `options.devices`.
 * Equal trees and options give equal bytes. Takes time and memory in proportion to the tree; about 10 µs a file.
 * @returns the image, a multiple of 4096 bytes, owned by the caller. The kernel mounts it with one `device=` option for each device, in order.
 * @throws AppError `invalid_argument` for a tree that EROFS cannot hold; `resource_exhausted` beyond `MAX_IMAGE_BYTES`.
 */
export function encodeErofs(root: ErofsDirectory, options: ErofsImageOptions): Uint8Array {
  checkOptions(options);
  const inventory = takeInventory(root, options.devices);
  const start = roundUp(DEVICE_TABLE_OFFSET + options.devices.length * DEVICE.size, SLOT_BYTES);
  const layout = planLayout(inventory, start);
  const bytes = new Uint8Array(layout.imageBytes);
  const image: Image = { bytes, view: new DataView(bytes.buffer), inventory, layout };
  writeSuperBlock(image, options);
  for (const [index, device] of options.devices.entries()) {
    writeDevice(image, DEVICE_TABLE_OFFSET + index * DEVICE.size, device);
  }
  for (const [number, node] of inventory.nodes.entries()) {
    writeInode(image, number, node);
    writeData(image, number, node);
  }
  return bytes;
}

function writeSuperBlock(
  { bytes, view, inventory, layout }: Image,
  options: ErofsImageOptions,
): void {
  const at = EROFS_SUPER_OFFSET;
  view.setUint32(at + SUPER.magic, EROFS_SUPER_MAGIC_V1, true);
  view.setUint32(at + SUPER.featureCompat, EROFS_FEATURE_COMPAT_MTIME, true);
  view.setUint8(at + SUPER.blockBits, BLOCK_BITS);
  view.setUint16(at + SUPER.rootNid, nidOf(layout, 0), true);
  setInt64(view, at + SUPER.inodeCount, inventory.nodes.length);
  setInt64(view, at + SUPER.epochSec, layout.epochSec);
  view.setUint32(at + SUPER.blockCount, layout.imageBytes / BLOCK_BYTES, true);
  const features = EROFS_FEATURE_INCOMPAT_CHUNKED_FILE | EROFS_FEATURE_INCOMPAT_DEVICE_TABLE;
  view.setUint32(at + SUPER.featureIncompat, features, true);
  view.setUint16(at + SUPER.extraDevices, options.devices.length, true);
  view.setUint16(at + SUPER.deviceTableSlot, DEVICE_TABLE_OFFSET / DEVICE.size, true);
  if (options.uuid) bytes.set(options.uuid, at + SUPER.uuid);
}

function writeDevice({ bytes, view }: Image, at: number, device: ErofsDevice): void {
  bytes.set(tagBytes(device), at + DEVICE.tag);
  view.setUint32(at + DEVICE.blockCount, Math.ceil(device.sizeBytes / BLOCK_BYTES), true);
}

function writeInode(image: Image, number: number, node: ErofsNode): void {
  const { bytes, view, inventory, layout } = image;
  const at = layout.inodeOffsets[number] ?? 0;
  const isCompact = layout.compact[number] === 1;
  const fields = isCompact ? COMPACT : EXTENDED;
  const xattrBytes = layout.xattrBytes[number] ?? 0;
  const size = node.kind === "reg" ? node.sizeBytes : (layout.dataBytes[number] ?? 0);
  const nlink = inventory.nlinks[number] ?? 1;
  view.setUint16(at + fields.format, (isCompact ? 0 : 1) | (dataLayout(image, number) << 1), true);
  view.setUint16(at + fields.xattrCount, xattrBytes === 0 ? 0 : (xattrBytes - 8) / 4, true);
  view.setUint16(at + fields.mode, node.mode | KINDS[node.kind].modeBits, true);
  view.setUint32(at + fields.union, inodeUnion(layout, number, node), true);
  view.setUint32(at + fields.ino, number + 1, true);
  if (isCompact) {
    view.setUint16(at + COMPACT.nlink, nlink, true);
    view.setUint32(at + COMPACT.size, size, true);
    view.setUint16(at + COMPACT.uid, node.uid, true);
    view.setUint16(at + COMPACT.gid, node.gid, true);
  } else {
    setInt64(view, at + EXTENDED.size, size);
    view.setUint32(at + EXTENDED.uid, node.uid, true);
    view.setUint32(at + EXTENDED.gid, node.gid, true);
    setInt64(view, at + EXTENDED.mtimeSec, node.mtimeSec);
    view.setUint32(at + EXTENDED.mtimeNsec, node.mtimeNsec, true);
    view.setUint32(at + EXTENDED.nlink, nlink, true);
  }
  if (xattrBytes > 0) writeXattrs(bytes, at + fields.bytes, node.xattrs);
}

/** What follows the inode, or lies in its blocks. */
function writeData(image: Image, number: number, node: ErofsNode): void {
  const { bytes, layout } = image;
  const bodyEnd =
    (layout.inodeOffsets[number] ?? 0) +
    (layout.compact[number] ? COMPACT.bytes : EXTENDED.bytes) +
    (layout.xattrBytes[number] ?? 0);
  const listing = image.inventory.listings.get(number);
  if (listing) writeDirectory(image, number, listing, bodyEnd);
  if (node.kind === "reg") writeChunks(image, node, roundUp(bodyEnd, CHUNK_INDEX_BYTES));
  if (node.kind !== "symlink") return;
  const blockEnd =
    node.target.length - (layout.inline[number] ? node.target.length % BLOCK_BYTES : 0);
  setByteString(bytes, layout.blockOffsets[number] ?? 0, node.target.slice(0, blockEnd));
  setByteString(bytes, bodyEnd, node.target.slice(blockEnd));
}

function writeDirectory(
  image: Image,
  number: number,
  listing: DirectoryListing,
  bodyEnd: number,
): void {
  const { bytes, inventory, layout } = image;
  let at = layout.blockOffsets[number] ?? 0;
  for (const { start, end } of directoryBlocks(listing.names)) {
    const isTail = end === listing.names.length && layout.inline[number] === 1;
    const targets = listing.inodes.slice(start, end).map((inode) => ({
      nid: nidOf(layout, inode),
      direntType: KINDS[inventory.nodes[inode]?.kind ?? "reg"].direntType,
    }));
    writeDirectoryBlock(bytes, isTail ? bodyEnd : at, listing.names.slice(start, end), targets);
    at += BLOCK_BYTES;
  }
}

function writeChunks({ view }: Image, file: ErofsFile, offset: number): void {
  const chunkBlocks = 2 ** chunkBits(file.sizeBytes);
  for (let chunk = 0; chunk < chunkCount(file); chunk++) {
    const at = offset + chunk * CHUNK_INDEX_BYTES;
    view.setUint16(at + 2, file.device + 1, true);
    view.setUint32(at + 4, file.dataOffset / BLOCK_BYTES + chunk * chunkBlocks, true);
  }
}

function dataLayout({ inventory, layout }: Image, number: number): number {
  const node = inventory.nodes[number];
  if (node?.kind === "reg" && node.sizeBytes > 0) return EROFS_INODE_CHUNK_BASED;
  return layout.inline[number] ? EROFS_INODE_FLAT_INLINE : EROFS_INODE_FLAT_PLAIN;
}

function inodeUnion(layout: Layout, number: number, node: ErofsNode): number {
  switch (node.kind) {
    case "reg":
      return node.sizeBytes === 0 ? 0 : EROFS_CHUNK_FORMAT_INDEXES | chunkBits(node.sizeBytes);
    case "char":
    case "block":
      return encodeDevice(node.devmajor, node.devminor);
    case "dir":
    case "symlink":
      return (layout.blockOffsets[number] ?? 0) / BLOCK_BYTES;
    case "fifo":
    case "socket":
      return 0;
  }
}

function nidOf(layout: Layout, number: number): number {
  return (layout.inodeOffsets[number] ?? 0) / SLOT_BYTES;
}

function tagBytes(device: ErofsDevice): Uint8Array {
  return new TextEncoder().encode(device.tag ?? "");
}

function checkOptions({ devices, uuid }: ErofsImageOptions): void {
  if (uuid && uuid.length !== 16) refuse(`its uuid has ${uuid.length} bytes, want 16`);
  if (devices.length < 1 || devices.length > MAX_DEVICES) {
    refuse(`it has ${devices.length} devices, want 1 to ${MAX_DEVICES}`);
  }
  for (const [index, device] of devices.entries()) {
    const { sizeBytes } = device;
    if (!Number.isSafeInteger(sizeBytes) || sizeBytes < 0 || sizeBytes > MAX_DEVICE_BYTES) {
      refuse(`device ${index} has ${sizeBytes} bytes, want 0 to ${MAX_DEVICE_BYTES}`);
    }
    if (tagBytes(device).length > DEVICE.tagBytes) {
      refuse(`the tag of device ${index} is longer than ${DEVICE.tagBytes} bytes`);
    }
  }
}

function refuse(state: string): never {
  throw new AppError("invalid_argument", `Cannot write an EROFS image: ${state}`);
}
