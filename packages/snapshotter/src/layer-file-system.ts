import { constants } from "node:os";
import {
  AppError,
  type ByteSource,
  type ByteString,
  byteStringBytes,
  byteStringFromText,
  type Digest,
  type ReadOptions,
  roundUp,
} from "@soci-ts/core";
import { type ErofsInode, ErofsReader } from "@soci-ts/erofs";
import {
  type Awaitable,
  type FuseAttributes,
  type FuseDirectoryEntry,
  FuseError,
  type FuseHandler,
  type PageRange,
} from "@soci-ts/fuse";
import {
  dataNodeId,
  imageNodeId,
  inodeNodeId,
  meaningOf,
  type NodeMeaning,
  ROOT_NODE_ID,
} from "./node-ids.ts";

/** One layer as the file system shows it. */
export interface LayerSlot {
  readonly digest: Digest;
  /** The layer's uncompressed tar. */
  readonly data: ByteSource;
  /** Its EROFS metadata image. */
  readonly image: Uint8Array;
  /** The slot of each of the image's devices; the layer's own is the first. */
  readonly deviceSlots: readonly number[];
}

/** The layers of a file system, by slot. */
export interface LayerSlots {
  /** The layer of a slot, opened if need be; `undefined` if there is none. A slot's layer never changes. */
  get(slot: number): Awaitable<LayerSlot | undefined>;
  /** The slots that a listing of the root shows. */
  readonly listed: readonly number[];
}

/** Is told of each read of a data file, and runs it. */
export type WatchRead = (range: PageRange, read: () => Promise<Uint8Array>) => Promise<Uint8Array>;

/** Layers that are there from the start: slot N is the one at position N. */
export function fixedSlots(slots: readonly LayerSlot[]): LayerSlots {
  return { get: (slot) => slots[slot], listed: [...slots.keys()] };
}

const { EISDIR, ENOENT } = constants.errno;

/** The kernel reads whole pages of a device, and takes a short read for a failure: files are shown padded with zeros to this. */
const PAGE_BYTES = 4096;

/** Listings kept, since the kernel asks for a long directory in many pieces. */
const MAX_CACHED_LISTINGS = 32;

/**
 * The file system behind a mount: for each slot N the layer's bytes as the file `dN`, its metadata image as `mN`, and the tree
 * of that image as `tN/`. The kernel mounts EROFS from `mN` with `dN` as its device; where it can't, `tN` is the layer.
 * The directories show what is in the image as it is, whiteouts and `trusted.overlay.opaque` included, for overlayfs on top.
 */
export class LayerFileSystem implements FuseHandler {
  readonly #slots: LayerSlots;
  readonly #watchRead: WatchRead;
  readonly #readers = new WeakMap<LayerSlot, ErofsReader>();
  readonly #listings = new Map<number, readonly FuseDirectoryEntry[]>();

  constructor(slots: LayerSlots, watchRead: WatchRead = (_, read) => read()) {
    this.#slots = slots;
    this.#watchRead = watchRead;
  }

  /** @throws FuseError ENOENT for an id that names nothing; FormatError if the image is broken. */
  async lookup(parent: number, name: ByteString): Promise<FuseAttributes | undefined> {
    const meaning = this.#meaning(parent);
    if (meaning.kind === "root") return await this.#lookupSlot(name);
    if (meaning.kind !== "inode") return undefined;
    const found = (await this.#reader(meaning.slot)).lookup(meaning.nid, name);
    return found && (await this.getAttributes(inodeNodeId(meaning.slot, found.nid)));
  }

  /** @throws FuseError ENOENT for an id that names nothing; FormatError if the image is broken. */
  async getAttributes(nodeId: number): Promise<FuseAttributes> {
    const meaning = this.#meaning(nodeId);
    switch (meaning.kind) {
      case "root":
        return { ...PLAIN, nodeId, type: "dir", mode: 0o500, nlink: 2 };
      case "data":
        return plainFile(nodeId, (await this.#slot(meaning.slot)).data.size);
      case "image":
        return plainFile(nodeId, (await this.#slot(meaning.slot)).image.length);
      case "inode":
        return inodeAttributes(nodeId, (await this.#reader(meaning.slot)).inode(meaning.nid));
    }
  }

  /** @throws FuseError, AppError. */
  async readLink(nodeId: number): Promise<Uint8Array> {
    const { slot, nid } = this.#inode(nodeId);
    return byteStringBytes((await this.#reader(slot)).readLink(nid));
  }

  /** @throws AppError with the layer's digest and the offset in its tar; the session logs it once. */
  async read(
    nodeId: number,
    offset: number,
    length: number,
    options: ReadOptions,
  ): Promise<Uint8Array> {
    const meaning = this.#meaning(nodeId);
    switch (meaning.kind) {
      case "root":
        throw new FuseError(EISDIR);
      case "image":
        return padded((await this.#slot(meaning.slot)).image, offset, length);
      case "data":
        return await this.#watchRead({ nodeId, offset, lengthBytes: length }, () =>
          this.#readData(meaning.slot, offset, length, options),
        );
      case "inode":
        return await this.#readFile(meaning, offset, length, options);
    }
  }

  /** @throws FuseError ENOENT; AppError if it is no directory; FormatError if the image is broken. */
  async readDirectory(nodeId: number): Promise<readonly FuseDirectoryEntry[]> {
    const known = this.#listings.get(nodeId);
    if (known !== undefined) return known;
    const listing = await this.#list(nodeId);
    const [oldest] = this.#listings.keys();
    if (this.#listings.size >= MAX_CACHED_LISTINGS && oldest !== undefined) {
      this.#listings.delete(oldest);
    }
    this.#listings.set(nodeId, listing);
    return listing;
  }

  /** @throws FuseError ENOENT for an id that names nothing; FormatError if the image is broken. */
  async getXattr(nodeId: number, name: ByteString): Promise<Uint8Array | undefined> {
    const value = (await this.#xattrs(nodeId)).get(name);
    return value === undefined ? undefined : byteStringBytes(value);
  }

  /** @throws FuseError ENOENT for an id that names nothing; FormatError if the image is broken. */
  async listXattrs(nodeId: number): Promise<readonly ByteString[]> {
    return [...(await this.#xattrs(nodeId)).keys()];
  }

  /** A slot may come to be after it was asked for, so its absence is an error: the kernel does not remember those. */
  async #lookupSlot(name: ByteString): Promise<FuseAttributes | undefined> {
    const [, letter, digits] = /^([dmt])(0|[1-9]\d{0,6})$/.exec(name) ?? [];
    if (letter === undefined) return undefined;
    const slot = Number(digits);
    if (letter === "d") return await this.getAttributes(dataNodeId(slot));
    if (letter === "m") return await this.getAttributes(imageNodeId(slot));
    return await this.getAttributes(inodeNodeId(slot, (await this.#reader(slot)).rootNid));
  }

  async #list(nodeId: number): Promise<readonly FuseDirectoryEntry[]> {
    const meaning = this.#meaning(nodeId);
    if (meaning.kind === "root") return await this.#listRoot();
    const { slot, nid } = this.#inode(nodeId);
    return [...(await this.#reader(slot)).readDirectory(nid)].map((entry) => ({
      name: entry.name,
      nodeId: inodeNodeId(slot, entry.nid),
      type: entry.kind,
    }));
  }

  async #listRoot(): Promise<readonly FuseDirectoryEntry[]> {
    const entry = (
      name: string,
      nodeId: number,
      type: FuseDirectoryEntry["type"],
    ): FuseDirectoryEntry => ({ name: byteStringFromText(name), nodeId, type });
    const listing = [entry(".", ROOT_NODE_ID, "dir"), entry("..", ROOT_NODE_ID, "dir")];
    for (const slot of this.#slots.listed) {
      const { rootNid } = await this.#reader(slot);
      listing.push(
        entry(`d${slot}`, dataNodeId(slot), "reg"),
        entry(`m${slot}`, imageNodeId(slot), "reg"),
        entry(`t${slot}`, inodeNodeId(slot, rootNid), "dir"),
      );
    }
    return listing;
  }

  async #readFile(
    { slot, nid }: { readonly slot: number; readonly nid: number },
    offset: number,
    length: number,
    options: ReadOptions,
  ): Promise<Uint8Array> {
    const extent = (await this.#reader(slot)).extent(nid);
    const rest = extent === undefined ? 0 : Math.min(length, extent.sizeBytes - offset);
    if (extent === undefined || rest <= 0) return new Uint8Array(0);
    const dataSlot = (await this.#slot(slot)).deviceSlots[extent.device];
    if (dataSlot === undefined) throw new FuseError(ENOENT);
    return await this.#readData(dataSlot, extent.offset + offset, rest, options);
  }

  async #readData(
    slot: number,
    offset: number,
    length: number,
    options: ReadOptions,
  ): Promise<Uint8Array> {
    const { data, digest } = await this.#slot(slot);
    const present = Math.max(0, Math.min(length, data.size - offset));
    try {
      const bytes = present === 0 ? NOTHING : await data.readAt(offset, present, options);
      return padTo(bytes, Math.min(length, roundUp(data.size, PAGE_BYTES) - offset));
    } catch (error) {
      throw readError(`d${slot}`, digest, offset, AppError.from(error));
    }
  }

  async #xattrs(nodeId: number): Promise<ReadonlyMap<ByteString, ByteString>> {
    const meaning = this.#meaning(nodeId);
    if (meaning.kind !== "inode") return NO_XATTRS;
    return (await this.#reader(meaning.slot)).xattrs(meaning.nid);
  }

  #meaning(nodeId: number): NodeMeaning {
    const meaning = meaningOf(nodeId);
    if (meaning === undefined) throw new FuseError(ENOENT);
    return meaning;
  }

  #inode(nodeId: number): { readonly slot: number; readonly nid: number } {
    const meaning = this.#meaning(nodeId);
    if (meaning.kind !== "inode") throw new FuseError(ENOENT);
    return meaning;
  }

  async #slot(slot: number): Promise<LayerSlot> {
    const found = await this.#slots.get(slot);
    if (found === undefined) throw new FuseError(ENOENT);
    return found;
  }

  /** Made when first needed: where the kernel reads the images itself, no reader ever is. */
  async #reader(slot: number): Promise<ErofsReader> {
    const layer = await this.#slot(slot);
    const reader = this.#readers.get(layer) ?? new ErofsReader(layer.image);
    this.#readers.set(layer, reader);
    return reader;
  }
}

const NOTHING = new Uint8Array(0);
const NO_XATTRS: ReadonlyMap<ByteString, ByteString> = new Map();

const PLAIN = {
  sizeBytes: 0,
  uid: 0,
  gid: 0,
  mtimeSec: 0,
  mtimeNsec: 0,
  devmajor: 0,
  devminor: 0,
};

function plainFile(nodeId: number, sizeBytes: number): FuseAttributes {
  const shown = roundUp(sizeBytes, PAGE_BYTES);
  return { ...PLAIN, nodeId, type: "reg", mode: 0o400, nlink: 1, sizeBytes: shown };
}

function inodeAttributes(nodeId: number, inode: ErofsInode): FuseAttributes {
  const { kind, nid: _, ...rest } = inode;
  return { ...rest, nodeId, type: kind };
}

function padded(bytes: Uint8Array, offset: number, length: number): Uint8Array {
  const end = Math.min(offset + length, roundUp(bytes.length, PAGE_BYTES));
  return padTo(bytes.subarray(offset, end), Math.max(0, end - offset));
}

function padTo(bytes: Uint8Array, length: number): Uint8Array {
  if (bytes.length >= length) return bytes;
  const grown = new Uint8Array(length);
  grown.set(bytes);
  return grown;
}

function readError(file: string, digest: Digest, offset: number, cause: AppError): AppError {
  const message = `Cannot read layer ${digest} at offset ${offset}: ${cause.message}`;
  return new AppError(cause.code, message, {
    cause,
    details: { ...cause.details, layer: digest, offset, file },
  });
}
