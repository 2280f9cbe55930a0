import { type ByteString, byteStringFrom, FormatError } from "@soci-ts/core";
import { DIRENT_BYTES, FORMAT_NAME, KINDS } from "./format.ts";
import { MAX_NAME_BYTES } from "./limits.ts";
import { getUint64 } from "./numbers.ts";
import type { ErofsKind } from "./types.ts";

const KIND_BY_DIRENT_TYPE: ReadonlyMap<number, ErofsKind> = new Map(
  Object.entries(KINDS).map(([kind, { direntType }]) => [direntType, kind as ErofsKind]),
);

/** One block of a directory: the entries, then their names. */
export class DirectoryBlockReader {
  /** Number of entries, at least one. */
  readonly count: number;
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #offset: number;

  /**
   * @param bytes - the block's bytes that count; fewer than 512 in the last one.
   * @param offset - where it stands in the image, for errors.
   * @throws FormatError if it does not start with a table of entries.
   */
  constructor(bytes: Uint8Array, offset: number) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#offset = offset;
    const tableBytes = bytes.length < DIRENT_BYTES ? 0 : this.#view.getUint16(8, true);
    if (tableBytes === 0 || tableBytes % DIRENT_BYTES !== 0 || tableBytes >= bytes.length) {
      this.#fault(
        0,
        `a directory block of ${bytes.length} bytes has a table of ${tableBytes} bytes`,
      );
    }
    this.count = tableBytes / DIRENT_BYTES;
  }

  /** The name of entry `index`. @throws FormatError if it is not a file name inside the block. */
  name(index: number): ByteString {
    const at = index * DIRENT_BYTES;
    const start = this.#view.getUint16(at + 8, true);
    const isLast = index + 1 === this.count;
    let end = isLast ? this.#bytes.length : this.#view.getUint16(at + DIRENT_BYTES + 8, true);
    if (start < this.count * DIRENT_BYTES || start >= end || end > this.#bytes.length) {
      this.#fault(
        at,
        `the name of entry ${index} is at bytes ${start} to ${end} of ${this.#bytes.length}`,
      );
    }
    if (isLast) {
      const terminator = this.#bytes.indexOf(0, start);
      if (terminator >= 0) end = terminator;
    }
    const name = byteStringFrom(this.#bytes.subarray(start, end));
    if (
      name.length === 0 ||
      name.length > MAX_NAME_BYTES ||
      name.includes("/") ||
      name.includes("\0")
    ) {
      this.#fault(
        start,
        `entry ${index} has a name of ${name.length} bytes that is not a file name`,
      );
    }
    return name;
  }

  /** What entry `index` points at. @throws FormatError if its type is unknown. */
  target(index: number): { nid: number; kind: ErofsKind } {
    const at = index * DIRENT_BYTES;
    const kind = KIND_BY_DIRENT_TYPE.get(this.#view.getUint8(at + 10));
    if (kind === undefined)
      this.#fault(at, `entry ${index} has file type ${this.#view.getUint8(at + 10)}`);
    return { nid: getUint64(this.#view, at), kind };
  }

  /** The entry with this name, by binary search. */
  find(name: ByteString): number | undefined {
    let low = 0;
    let high = this.count - 1;
    while (low <= high) {
      const middle = (low + high) >> 1;
      const found = this.name(middle);
      if (found === name) return middle;
      if (found < name) low = middle + 1;
      else high = middle - 1;
    }
    return undefined;
  }

  #fault(at: number, message: string): never {
    throw new FormatError(FORMAT_NAME, this.#offset + at, message);
  }
}
