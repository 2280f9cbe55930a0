/**
 * What a FUSE node id means. Each layer of a mount has a slot, a number that is written in the mount's record; every id can be taken
 * apart with nothing but arithmetic, so a process that serves the mount later understands the ids that the kernel already holds.
 *
 * `id = (slot + 1) · 2^32 + local`, and 1 for the root. `local` is 0 for the layer's data file, 1 for its metadata image, and
 * nid + 2 for an inode of that image.
 */
export type NodeMeaning =
  | { readonly kind: "root" }
  | { readonly kind: "data" | "image"; readonly slot: number }
  | { readonly kind: "inode"; readonly slot: number; readonly nid: number };

const SLOT_UNIT = 2 ** 32;
const LOCAL_DATA = 0;
const LOCAL_IMAGE = 1;
const FIRST_INODE = 2;

/** The node id of the FUSE root. */
export const ROOT_NODE_ID = 1;

/** Slots of one FUSE file system, those no longer used included: 2^20 · 2^32 is 2^52, so ids stay below 2^53. */
export const MAX_SLOTS = 1_048_576;

/** The id of a slot's data file. */
export function dataNodeId(slot: number): number {
  return (slot + 1) * SLOT_UNIT + LOCAL_DATA;
}

/** The id of a slot's metadata image. */
export function imageNodeId(slot: number): number {
  return (slot + 1) * SLOT_UNIT + LOCAL_IMAGE;
}

/** The id of an inode of a slot's metadata image; `nid` is below 2^32 − 2. */
export function inodeNodeId(slot: number, nid: number): number {
  return (slot + 1) * SLOT_UNIT + FIRST_INODE + nid;
}

/** Takes a node id apart; `undefined` if it is none of ours. Whether the slot and the inode exist is for the caller to see. */
export function meaningOf(nodeId: number): NodeMeaning | undefined {
  if (nodeId === ROOT_NODE_ID) return { kind: "root" };
  const slot = Math.floor(nodeId / SLOT_UNIT) - 1;
  if (slot < 0 || slot >= MAX_SLOTS) return undefined;
  const local = nodeId % SLOT_UNIT;
  if (local === LOCAL_DATA) return { kind: "data", slot };
  if (local === LOCAL_IMAGE) return { kind: "image", slot };
  return { kind: "inode", slot, nid: local - FIRST_INODE };
}
