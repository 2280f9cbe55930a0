import { hash } from "node:crypto";
import { displayByteString, FormatError } from "@soci-ts/core";
import { createTarScan, type TarEntry } from "@soci-ts/tar";

/*
 * One record for each entry, in tar order, little-endian (FORMAT.md):
 *   0  float64  offset of the entry's first header
 *   8  uint32   length of its headers
 *  12  byte[20] the first bytes of the sha256 of what the entry says
 */
const FINGERPRINT_BYTES = 20;
/** 8 + 4 + 20 = 32. */
const RECORD_BYTES = 8 + 4 + FINGERPRINT_BYTES;

/** Some microseconds each. */
const HEADERS_AT_ONCE = 128;

const TABLE = "header table";
const XATTR_PREFIX = "SCHILY.xattr.";

/** Headers that lie in two spans or more: `[start, end)` in the tar, and where the entry's data ends at the latest. */
export interface SplitHeader {
  readonly at: number;
  readonly start: number;
  readonly end: number;
  readonly dataEnd: number;
}

/**
 * What an index claims of its tar's headers, small enough to be kept while the layer is mounted: 32 bytes an entry. Span digests cover
 * a layer's compressed bytes only, so an index can name files that are not there, or say that they lie elsewhere. Held against
 * the headers as their bytes come in, such a lie is noticed before a byte of the file is served.
 */
export class HeaderTable {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  /** Number of entries. */
  readonly count: number;

  private constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    this.count = bytes.length / RECORD_BYTES;
  }

  /** The table of an index's entries. Costs some microseconds for each. */
  static of(entries: readonly TarEntry[]): HeaderTable {
    const table = new HeaderTable(new Uint8Array(entries.length * RECORD_BYTES));
    for (const [at, entry] of entries.entries()) {
      const { headerOffset, dataOffset } = entry;
      table.#view.setFloat64(at * RECORD_BYTES, headerOffset, true);
      table.#view.setUint32(at * RECORD_BYTES + 8, dataOffset - headerOffset, true);
      table.#bytes.set(fingerprint(entry), at * RECORD_BYTES + 12);
    }
    return table;
  }

  /**
   * The table in bytes that {@link HeaderTable.encode} gave; they are kept. Costs some nanoseconds for each record.
   * @throws FormatError if their length can't be, or a record's headers do not lie behind those of the one before.
   */
  static decode(bytes: Uint8Array): HeaderTable {
    if (bytes.length % RECORD_BYTES !== 0) {
      const state = `it has ${bytes.length} bytes, want a multiple of ${RECORD_BYTES}`;
      throw new FormatError(TABLE, bytes.length, state);
    }
    const table = new HeaderTable(bytes);
    table.#verifyOrder();
    return table;
  }

  /** The table's bytes; they must not be changed. */
  encode(): Uint8Array {
    return this.#bytes;
  }

  /** The part of the table that says what {@link HeaderTable.verify} needs of a piece `[start, end)` of the tar. */
  within(start: number, end: number): HeaderTable {
    const [first, last] = [this.#firstFrom(start), this.#firstFrom(end)];
    return new HeaderTable(this.#bytes.slice(first * RECORD_BYTES, last * RECORD_BYTES));
  }

  /**
   * Holds the headers that lie wholly inside a piece of the tar, which starts at the tar's offset `start`, against the table.
   * @throws FormatError at the first that says something else.
   */
  verify(piece: Uint8Array, start: number): void {
    for (const _ of this.verifySteps(piece, start));
  }

  /** Does what {@link HeaderTable.verify} does in steps of a millisecond at most: between them its thread can do something else. */
  *verifySteps(piece: Uint8Array, start: number): Generator<undefined, void> {
    let first = this.#firstFrom(start);
    let end = first;
    while (end < this.count && this.#dataOffset(end) <= start + piece.length) {
      end += 1;
      if (end - first < HEADERS_AT_ONCE) continue;
      this.#verifyEntries(piece, start, first, end);
      first = end;
      yield undefined;
    }
    this.#verifyEntries(piece, start, first, end);
  }

  /** Holds a split header's bytes, all of them, against the table. @throws FormatError if it says something else. */
  verifySplit(header: SplitHeader, bytes: Uint8Array): void {
    this.#verifyEntries(bytes, header.start, header.at, header.at + 1);
  }

  /** The headers that {@link HeaderTable.verify} never sees whole when the tar comes in pieces that start at `borders` (ascending). */
  splitBy(borders: Iterable<number>): SplitHeader[] {
    const split: SplitHeader[] = [];
    for (const border of borders) {
      const at = this.#firstFrom(border) - 1;
      if (at < 0 || this.#dataOffset(at) <= border || split.at(-1)?.at === at) continue;
      const dataEnd = at + 1 < this.count ? this.#headerOffset(at + 1) : Number.POSITIVE_INFINITY;
      split.push({ at, start: this.#headerOffset(at), end: this.#dataOffset(at), dataEnd });
    }
    return split;
  }

  /** All else that is done with a table counts on offsets that are whole numbers in rising order. */
  #verifyOrder(): void {
    let least = 0;
    for (let at = 0; at < this.count; at += 1) {
      const start = this.#headerOffset(at);
      const end = this.#dataOffset(at);
      if (!Number.isSafeInteger(start) || !Number.isSafeInteger(end) || start < least) {
        const state = `record ${at} says that headers lie at ${start} to ${end}, want ${least} or more`;
        throw new FormatError(TABLE, at * RECORD_BYTES, state);
      }
      least = end;
    }
  }

  #verifyEntries(piece: Uint8Array, start: number, first: number, end: number): void {
    if (first >= end) return;
    const base = this.#headerOffset(first);
    let at = first;
    const scan = createTarScan({
      onEntry: (entry) => {
        this.#verifyEntry(at, end, base, entry);
        at += 1;
      },
    });
    scan.push(piece.subarray(base - start, this.#dataOffset(end - 1) - start));
    if (at === end) return;
    throw new FormatError(
      TABLE,
      this.#headerOffset(at),
      "the tar has no header where the index says",
    );
  }

  #verifyEntry(at: number, end: number, base: number, entry: TarEntry): void {
    const offset = base + entry.headerOffset;
    const isWhere =
      at < end &&
      offset === this.#headerOffset(at) &&
      base + entry.dataOffset === this.#dataOffset(at);
    if (isWhere && this.#hasFingerprint(at, entry)) return;
    const name = displayByteString(entry.name);
    const state = `the tar has "${name}" there, of which the index says something else`;
    throw new FormatError(TABLE, offset, state);
  }

  #hasFingerprint(at: number, entry: TarEntry): boolean {
    const start = at * RECORD_BYTES + 12;
    return fingerprint(entry).equals(this.#bytes.subarray(start, start + FINGERPRINT_BYTES));
  }

  /** The first entry whose headers start at `offset` or behind it. */
  #firstFrom(offset: number): number {
    let low = 0;
    let high = this.count;
    while (low < high) {
      const middle = Math.floor((low + high) / 2);
      if (this.#headerOffset(middle) < offset) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #headerOffset(at: number): number {
    return this.#view.getFloat64(at * RECORD_BYTES, true);
  }

  #dataOffset(at: number): number {
    return this.#headerOffset(at) + this.#view.getUint32(at * RECORD_BYTES + 8, true);
  }
}

/** All that a mount shows of an entry. */
function fingerprint(entry: TarEntry): Buffer {
  const xattrs = [...entry.paxRecords].filter(([key]) => key.startsWith(XATTR_PREFIX)).sort();
  const { name, type, sizeBytes, linkname, mode, uid, gid } = entry;
  const { mtimeSec, mtimeNsec, devmajor, devminor } = entry;
  const said = [
    name,
    type,
    sizeBytes,
    linkname,
    mode,
    uid,
    gid,
    mtimeSec,
    mtimeNsec,
    devmajor,
    devminor,
    xattrs,
  ];
  return hash("sha256", JSON.stringify(said), "buffer").subarray(0, FINGERPRINT_BYTES);
}
