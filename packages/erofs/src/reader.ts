import { AppError, type ByteString, byteStringFrom, FormatError } from "@soci-ts/core";
import { DirectoryBlockReader } from "./directory-reader.ts";
import { BLOCK_BYTES, CHUNK_INDEX_BYTES, DIRENT_BYTES, FORMAT_NAME } from "./format.ts";
import { type ParsedInode, parseInode } from "./inode.ts";
import { MAX_LINK_TARGET_BYTES } from "./limits.ts";
import { parseSuperBlock, type SuperBlock } from "./super-block.ts";
import type {
  ErofsDevice,
  ErofsDirectoryEntry,
  ErofsExtent,
  ErofsInode,
  ErofsKind,
} from "./types.ts";
import { readXattrs } from "./xattrs.ts";

const NO_XATTRS: ReadonlyMap<ByteString, ByteString> = new Map();

/**
 * Answers from an image what the kernel would answer from a mount of it: attributes, names, links, xattrs, and where file
 * data lies. Reads images that `encodeErofs` writes, other EROFS images are refused. Nothing is cached and nothing is copied
 * but names and values: the bytes must not change. Every offset is checked before use, so a hostile image gives FormatErrors
 * and no more; who walks a whole tree must bound the walk, as directories of such an image may contain themselves.
 */
export class ErofsReader {
  readonly #view: DataView;
  readonly #bytes: Uint8Array;
  readonly #super: SuperBlock;

  /** @throws FormatError if the bytes are not such an image, whole. */
  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#super = parseSuperBlock(this.#view);
  }

  /** The root directory's nid. */
  get rootNid(): number {
    return this.#super.rootNid;
  }

  /** Number of inodes, as the image says. */
  get inodeCount(): number {
    return this.#super.inodeCount;
  }

  /** The data devices, in order; sizes are multiples of 512. */
  get devices(): readonly ErofsDevice[] {
    return this.#super.devices;
  }

  /** The image's 16-byte identity. */
  get uuid(): Uint8Array {
    return this.#super.uuid;
  }

  /** @throws FormatError if there is no such inode. */
  inode(nid: number): ErofsInode {
    return this.#parse(nid).inode;
  }

  /**
   * The entry of a directory with this name, by binary search; undefined if there is none.
   * @throws AppError `failed_precondition` if `nid` is not a directory; FormatError.
   */
  lookup(nid: number, name: ByteString): { nid: number; kind: ErofsKind } | undefined {
    const parsed = this.#parse(nid, "dir");
    let low = 0;
    let high = Math.ceil(parsed.inode.sizeBytes / BLOCK_BYTES) - 1;
    while (low < high) {
      const middle = Math.ceil((low + high) / 2);
      if (this.#directoryBlock(parsed, middle).name(0) <= name) low = middle;
      else high = middle - 1;
    }
    if (high < 0) return undefined;
    const block = this.#directoryBlock(parsed, low);
    const index = block.find(name);
    return index === undefined ? undefined : block.target(index);
  }

  /**
   * The entries of a directory in byte order, `.` and `..` among them, from `cookie` on: 0, or the `nextCookie` of the entry before.
   * A cookie from elsewhere gives the next entry in order or none.
   * @throws AppError `failed_precondition` if `nid` is not a directory, `invalid_argument` for a negative cookie; FormatError.
   */
  *readDirectory(nid: number, cookie = 0): Generator<ErofsDirectoryEntry> {
    if (!Number.isSafeInteger(cookie) || cookie < 0) {
      throw new AppError(
        "invalid_argument",
        `Cannot read directory ${nid}: the cookie is ${cookie}, want 0 or one from an entry`,
      );
    }
    const parsed = this.#parse(nid, "dir");
    const blockCount = Math.ceil(parsed.inode.sizeBytes / BLOCK_BYTES);
    let index = Math.ceil((cookie % BLOCK_BYTES) / DIRENT_BYTES);
    for (let number = Math.floor(cookie / BLOCK_BYTES); number < blockCount; number++) {
      const block = this.#directoryBlock(parsed, number);
      for (; index < block.count; index++) {
        const isLast = index + 1 === block.count;
        const nextCookie = isLast
          ? (number + 1) * BLOCK_BYTES
          : number * BLOCK_BYTES + (index + 1) * DIRENT_BYTES;
        yield { name: block.name(index), ...block.target(index), nextCookie };
      }
      index = 0;
    }
  }

  /**
   * A symbolic link's target.
   * @throws AppError `failed_precondition` if `nid` is not one; FormatError.
   */
  readLink(nid: number): ByteString {
    const parsed = this.#parse(nid, "symlink");
    const size = parsed.inode.sizeBytes;
    if (size < 1 || size > MAX_LINK_TARGET_BYTES) {
      throw new FormatError(
        FORMAT_NAME,
        parsed.offset,
        `the link's target has ${size} bytes, want 1 to ${MAX_LINK_TARGET_BYTES}`,
      );
    }
    const { blockOffset, blockBytes, tailOffset } = parsed;
    const start = byteStringFrom(this.#bytes.subarray(blockOffset, blockOffset + blockBytes));
    const rest = byteStringFrom(this.#bytes.subarray(tailOffset, tailOffset + size - blockBytes));
    return (start + rest) as ByteString;
  }

  /** An inode's xattrs by full name. @throws FormatError. */
  xattrs(nid: number): ReadonlyMap<ByteString, ByteString> {
    const { xattrOffset, xattrBytes } = this.#parse(nid);
    if (xattrBytes === 0) return NO_XATTRS;
    return readXattrs(
      this.#bytes.subarray(xattrOffset, xattrOffset + xattrBytes),
      (at, message) => {
        throw new FormatError(FORMAT_NAME, xattrOffset + at, message);
      },
    );
  }

  /**
   * Where a regular file's bytes lie; undefined for an empty file.
   * @throws AppError `failed_precondition` if `nid` is not a regular file; FormatError, also if the file is not in one piece inside its device.
   */
  extent(nid: number): ErofsExtent | undefined {
    const { chunks, inode } = this.#parse(nid, "reg");
    if (chunks === undefined) return undefined;
    const device = this.#view.getUint16(chunks.offset + 2, true) - 1;
    const firstBlock = this.#view.getUint32(chunks.offset + 4, true);
    for (let chunk = 0; chunk < chunks.count; chunk++) {
      const at = chunks.offset + chunk * CHUNK_INDEX_BYTES;
      const wanted = firstBlock + chunk * (chunks.chunkBytes / BLOCK_BYTES);
      const isNext = this.#view.getUint32(at + 4, true) === wanted;
      if (isNext && this.#view.getUint16(at + 2, true) === device + 1) continue;
      throw new FormatError(
        FORMAT_NAME,
        at,
        `chunk ${chunk} of inode ${nid} does not follow the one before`,
      );
    }
    const offset = firstBlock * BLOCK_BYTES;
    const deviceBytes = this.#super.devices[device]?.sizeBytes ?? 0;
    if (offset + inode.sizeBytes > deviceBytes) {
      throw new FormatError(
        FORMAT_NAME,
        chunks.offset,
        `the data of inode ${nid} lies outside device ${device}`,
      );
    }
    return { device, offset, sizeBytes: inode.sizeBytes };
  }

  #parse(nid: number, kind?: ErofsKind): ParsedInode {
    const { metaOffset, epochSec, epochNsec } = this.#super;
    const parsed = parseInode(this.#view, metaOffset, nid);
    if (kind !== undefined && parsed.inode.kind !== kind) {
      throw new AppError(
        "failed_precondition",
        `Cannot read inode ${nid}: it is a ${parsed.inode.kind}, want a ${kind}`,
      );
    }
    if (!parsed.isCompact) return parsed;
    return { ...parsed, inode: { ...parsed.inode, mtimeSec: epochSec, mtimeNsec: epochNsec } };
  }

  #directoryBlock(parsed: ParsedInode, number: number): DirectoryBlockReader {
    const start = number * BLOCK_BYTES;
    const isTail = start >= parsed.blockBytes;
    const length = Math.min(BLOCK_BYTES, parsed.inode.sizeBytes - start);
    const offset = isTail ? parsed.tailOffset : parsed.blockOffset + start;
    return new DirectoryBlockReader(this.#bytes.subarray(offset, offset + length), offset);
  }
}
