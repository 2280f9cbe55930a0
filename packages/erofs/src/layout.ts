import { AppError, roundUp } from "@soci-ts/core";
import { directoryBytes } from "./directory-blocks.ts";
import {
  BLOCK_BYTES,
  CHUNK_INDEX_BYTES,
  COMPACT,
  EROFS_CHUNK_FORMAT_BLKBITS_MASK,
  EXTENDED,
  IMAGE_ALIGN_BYTES,
  SLOT_BYTES,
} from "./format.ts";
import type { Inventory } from "./inventory.ts";
import { MAX_IMAGE_BYTES } from "./limits.ts";
import type { ErofsNode } from "./types.ts";
import { xattrBodyBytes } from "./xattrs.ts";

/** Where everything goes, by inode number. Numbers are bytes from the image's start, exact up to the image limit. */
export interface Layout {
  /** Time that compact inodes have. */
  readonly epochSec: number;
  readonly imageBytes: number;
  /** 1 where the inode has the 32-byte form. */
  readonly compact: Uint8Array;
  readonly xattrBytes: Uint32Array;
  /** Length of a directory's or symbolic link's data. */
  readonly dataBytes: Uint32Array;
  /** 1 where the part of the data after the last whole block follows the inode. */
  readonly inline: Uint8Array;
  readonly inodeOffsets: Uint32Array;
  /** Start of the data's blocks; 0 where there are none. */
  readonly blockOffsets: Uint32Array;
}

/** Gives every inode its place from `start` on, the root first, and all data blocks theirs after the inodes. */
export function planLayout(inventory: Inventory, start: number): Layout {
  const count = inventory.nodes.length;
  const layout = {
    epochSec: commonestTime(inventory.nodes),
    compact: new Uint8Array(count),
    xattrBytes: new Uint32Array(count),
    dataBytes: new Uint32Array(count),
    inline: new Uint8Array(count),
    inodeOffsets: new Uint32Array(count),
    blockOffsets: new Uint32Array(count),
  };
  let at = start;
  for (let number = 0; number < count; number++) at = placeInode(inventory, layout, { number, at });
  at = roundUp(at, BLOCK_BYTES);
  for (const [number, size] of layout.dataBytes.entries()) {
    const outside = layout.inline[number]
      ? size - (size % BLOCK_BYTES)
      : roundUp(size, BLOCK_BYTES);
    if (outside === 0) continue;
    layout.blockOffsets[number] = at;
    at = checkedBytes(at + outside);
  }
  return { ...layout, imageBytes: roundUp(at, IMAGE_ALIGN_BYTES) };
}

/** Fills in what concerns one inode; returns where the next one goes. */
function placeInode(
  { nodes, nlinks, listings }: Inventory,
  layout: Omit<Layout, "imageBytes">,
  { number, at }: { number: number; at: number },
): number {
  const node = nodes[number] as ErofsNode;
  const listing = listings.get(number);
  const isCompact = fitsCompact(node, nlinks[number] ?? 0, layout.epochSec);
  const xattrBytes = xattrBodyBytes(node.xattrs);
  const size = listing ? directoryBytes(listing.names) : linkBytes(node);
  const head = (isCompact ? COMPACT.bytes : EXTENDED.bytes) + xattrBytes;
  const tail = size % BLOCK_BYTES;
  const isInline = tail > 0 && head + tail <= BLOCK_BYTES;
  // Inline data may not cross a block's end; older kernels want the xattrs before a link's target in that block too.
  const mustMove = isInline && (at % BLOCK_BYTES) + head + tail > BLOCK_BYTES;
  const offset = mustMove ? roundUp(at, BLOCK_BYTES) : at;
  layout.compact[number] = isCompact ? 1 : 0;
  layout.xattrBytes[number] = xattrBytes;
  layout.dataBytes[number] = size;
  layout.inline[number] = isInline ? 1 : 0;
  layout.inodeOffsets[number] = offset;
  const end = roundUp(offset + head + (isInline ? tail : 0), CHUNK_INDEX_BYTES);
  return checkedBytes(roundUp(end + chunkCount(node) * CHUNK_INDEX_BYTES, SLOT_BYTES));
}

/** log2(blocks in a chunk): the least that makes the file one chunk, or the most there is. */
export function chunkBits(sizeBytes: number): number {
  let bits = 0;
  let chunkBytes = BLOCK_BYTES;
  while (bits < EROFS_CHUNK_FORMAT_BLKBITS_MASK && chunkBytes < sizeBytes) {
    bits += 1;
    chunkBytes *= 2;
  }
  return bits;
}

/** How many chunk indexes a file has: one up to 1 TiB, none if it is empty. */
export function chunkCount(node: ErofsNode): number {
  if (node.kind !== "reg" || node.sizeBytes === 0) return 0;
  return Math.ceil(node.sizeBytes / (BLOCK_BYTES * 2 ** chunkBits(node.sizeBytes)));
}

function linkBytes(node: ErofsNode): number {
  return node.kind === "symlink" ? node.target.length : 0;
}

function fitsCompact(node: ErofsNode, nlink: number, epochSec: number): boolean {
  if (node.mtimeSec !== epochSec || node.mtimeNsec !== 0) return false;
  if (node.uid > 0xffff || node.gid > 0xffff || nlink > 0xffff) return false;
  return node.kind !== "reg" || node.sizeBytes <= 0xffffffff;
}

/** The time most files have; the earliest of several. Reproducible layers have one for all. */
function commonestTime(nodes: readonly ErofsNode[]): number {
  const counts = new Map<number, number>();
  for (const node of nodes) {
    if (node.mtimeNsec === 0) counts.set(node.mtimeSec, (counts.get(node.mtimeSec) ?? 0) + 1);
  }
  let best = 0;
  let bestCount = 0;
  for (const [time, count] of counts) {
    if (count < bestCount || (count === bestCount && time >= best)) continue;
    best = time;
    bestCount = count;
  }
  return best;
}

function checkedBytes(length: number): number {
  if (length <= MAX_IMAGE_BYTES) return length;
  throw new AppError(
    "resource_exhausted",
    `Cannot write an EROFS image: it takes ${length} bytes of metadata, want at most ${MAX_IMAGE_BYTES}`,
  );
}
