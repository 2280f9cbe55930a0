import { AppError, type ByteString, displayByteString } from "@soci-ts/core";
import { ADDRESSABLE_BYTES } from "./format.ts";
import { MAX_DEPTH, MAX_LINK_TARGET_BYTES, MAX_NAME_BYTES } from "./limits.ts";
import type { ErofsDevice, ErofsDirectory, ErofsNode } from "./types.ts";

/** The names of one directory, `.` and `..` included, in byte order, and the inode each one means. */
export interface DirectoryListing {
  readonly names: readonly ByteString[];
  readonly inodes: readonly number[];
}

/** A tree as a list of inodes: number 0 is the root, the files of a directory stand together, parents before children. */
export interface Inventory {
  readonly nodes: readonly ErofsNode[];
  readonly nlinks: readonly number[];
  /** By inode number; set for directories only. */
  readonly listings: ReadonlyMap<number, DirectoryListing>;
}

const DOT = "." as ByteString;
const DOT_DOT = ".." as ByteString;

/**
 * Numbers the inodes of a tree breadth first, without recursion. Equal trees give equal inventories, whatever the order of their maps.
 * @throws AppError `invalid_argument` for a name, attribute or extent that an image cannot hold, naming the file.
 */
export function takeInventory(root: ErofsDirectory, devices: readonly ErofsDevice[]): Inventory {
  return new InventoryTaker(root, devices).take();
}

class InventoryTaker {
  readonly #devices: readonly ErofsDevice[];
  readonly #nodes: ErofsNode[] = [];
  readonly #nlinks: number[] = [];
  /** Number of the directory above, and how many are above, by inode number. */
  readonly #parents: number[] = [];
  readonly #depths: number[] = [];
  readonly #numbers = new Map<ErofsNode, number>();

  constructor(root: ErofsDirectory, devices: readonly ErofsDevice[]) {
    this.#devices = devices;
    this.#add(root, "/" as ByteString, 0);
  }

  take(): Inventory {
    const listings = new Map<number, DirectoryListing>();
    for (let number = 0; number < this.#nodes.length; number++) {
      const node = this.#nodes[number];
      if (node?.kind === "dir") listings.set(number, this.#list(node, number));
    }
    return { nodes: this.#nodes, nlinks: this.#nlinks, listings };
  }

  #list(directory: ErofsDirectory, number: number): DirectoryListing {
    const names = sortedNames(directory);
    const inodes = names.map((name) => {
      const node = directory.children.get(name);
      // Children never have these two names: they stand for directories that have a number already.
      if (node === undefined) return name === DOT ? number : (this.#parents[number] ?? 0);
      return this.#numberOf(node, name, number);
    });
    return { names, inodes };
  }

  #numberOf(node: ErofsNode, name: ByteString, parent: number): number {
    const known = this.#numbers.get(node);
    if (known === undefined) return this.#add(node, name, parent);
    if (node.kind === "dir") refuse(name, "the directory has two names, want one");
    this.#nlinks[known] = (this.#nlinks[known] ?? 0) + 1;
    return known;
  }

  #add(node: ErofsNode, name: ByteString, parent: number): number {
    checkNode(node, name, this.#devices);
    const depth = (this.#depths[parent] ?? -1) + 1;
    if (depth > MAX_DEPTH) refuse(name, `it lies ${depth} levels deep, want at most ${MAX_DEPTH}`);
    const number = this.#nodes.push(node) - 1;
    this.#numbers.set(node, number);
    this.#parents.push(parent);
    this.#depths.push(depth);
    this.#nlinks.push(node.kind === "dir" ? 2 : 1);
    if (node.kind === "dir" && number > 0) this.#nlinks[parent] = (this.#nlinks[parent] ?? 0) + 1;
    return number;
  }
}

function sortedNames(directory: ErofsDirectory): ByteString[] {
  const names: ByteString[] = [DOT, DOT_DOT];
  for (const name of directory.children.keys()) {
    if (!isFileName(name))
      refuse(name, `want a name of 1 to ${MAX_NAME_BYTES} bytes without / and NUL`);
    names.push(name);
  }
  // The default order compares char codes, which are bytes here.
  return names.sort();
}

/** True for what may stand in a directory beside `.` and `..`. */
export function isFileName(name: string): boolean {
  if (name.length === 0 || name.length > MAX_NAME_BYTES) return false;
  return name !== DOT && name !== DOT_DOT && !name.includes("/") && !name.includes("\0");
}

function checkNode(node: ErofsNode, name: ByteString, devices: readonly ErofsDevice[]): void {
  checkRange(name, "mode", node.mode, 0, 0o7777);
  checkRange(name, "uid", node.uid, 0, 0xffffffff);
  checkRange(name, "gid", node.gid, 0, 0xffffffff);
  checkRange(name, "mtimeNsec", node.mtimeNsec, 0, 999_999_999);
  checkRange(name, "mtimeSec", node.mtimeSec, Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER);
  switch (node.kind) {
    case "dir":
    case "fifo":
    case "socket":
      return;
    case "char":
    case "block":
      checkRange(name, "device major", node.devmajor, 0, 0xfff);
      checkRange(name, "device minor", node.devminor, 0, 0xfffff);
      return;
    case "symlink":
      checkRange(name, "length of its target", node.target.length, 1, MAX_LINK_TARGET_BYTES);
      if (node.target.includes("\0")) refuse(name, "its target holds a NUL, want none");
      return;
    case "reg": {
      if (node.sizeBytes === 0) return;
      checkRange(name, "size", node.sizeBytes, 0, ADDRESSABLE_BYTES);
      checkRange(name, "device", node.device, 0, devices.length - 1);
      checkRange(name, "data offset", node.dataOffset, 0, ADDRESSABLE_BYTES);
      if (node.dataOffset % 512 !== 0)
        refuse(name, `its data offset is ${node.dataOffset}, want a multiple of 512`);
      const end = node.dataOffset + node.sizeBytes;
      checkRange(name, "end of data", end, 0, devices[node.device]?.sizeBytes ?? 0);
    }
  }
}

function checkRange(name: ByteString, what: string, value: number, min: number, max: number): void {
  if (Number.isSafeInteger(value) && value >= min && value <= max) return;
  refuse(name, `its ${what} is ${value}, want ${min} to ${max}`);
}

function refuse(name: ByteString, state: string): never {
  throw new AppError(
    "invalid_argument",
    `Cannot write "${displayByteString(name)}" to an EROFS image: ${state}`,
  );
}
