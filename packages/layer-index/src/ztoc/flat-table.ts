import { AppError, type ByteString, FormatError } from "@soci-ts/core";

/** What a table costs in memory besides its text, about. */
const TABLE_COST_BYTES = 64;

/**
 * A FlatBuffer that nobody vouches for. All reads are checked against its bounds, and everything read counts against a
 * budget, since a small buffer may name the same text or table many times. (The library's reader checks neither.)
 */
export class FlatBuffer {
  readonly bytes: Buffer;
  readonly format: string;
  readonly #maxBytes: number;
  #usedBytes = 0;

  /**
   * @param format - the name in errors.
   * @param maxBytes - how much text and tables may be read, in all.
   */
  constructor(bytes: Uint8Array, format: string, maxBytes: number) {
    this.bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
    this.format = format;
    this.#maxBytes = maxBytes;
  }

  /** The table that the first word points at. */
  root(): FlatTable {
    return new FlatTable(this, this.follow(0));
  }

  /** Where the offset at `at` leads. */
  follow(at: number): number {
    this.check(at, 4);
    return at + this.bytes.readUInt32LE(at);
  }

  /** Throws unless `length` bytes are there at `at`. */
  check(at: number, length: number): void {
    if (at + length > this.bytes.length) {
      this.fail(at, `the buffer ends at ${this.bytes.length}, want ${length} bytes more`);
    }
  }

  /** Counts what is about to be read. */
  spend(length: number): void {
    this.#usedBytes += length;
    if (this.#usedBytes > this.#maxBytes) {
      this.exceed(`it spells out ${this.#usedBytes} bytes or more, want at most ${this.#maxBytes}`);
    }
  }

  /** @throws AppError `resource_exhausted`. */
  exceed(message: string): never {
    throw new AppError("resource_exhausted", `Cannot read ${this.format}: ${message}`);
  }

  /** @throws FormatError. */
  fail(at: number, message: string): never {
    throw new FormatError(this.format, at, message);
  }
}

/** A vector: where its first element is, and how many there are. */
export interface FlatVector {
  readonly start: number;
  readonly count: number;
}

/** A table of a {@link FlatBuffer}. Slots are numbered from 0; a field that is absent reads as its default. */
export class FlatTable {
  readonly buffer: FlatBuffer;
  /** Where the table is, for errors. */
  readonly position: number;
  readonly #vtable: number;
  readonly #vtableBytes: number;

  constructor(buffer: FlatBuffer, position: number) {
    buffer.spend(TABLE_COST_BYTES);
    buffer.check(position, 4);
    const vtable = position - buffer.bytes.readInt32LE(position);
    if (vtable < 0) buffer.fail(position, "the vtable lies before the buffer");
    buffer.check(vtable, 4);
    const vtableBytes = buffer.bytes.readUInt16LE(vtable);
    if (vtableBytes < 4 || vtableBytes % 2 !== 0)
      buffer.fail(vtable, "the vtable has no valid size");
    buffer.check(vtable, vtableBytes);
    this.buffer = buffer;
    this.position = position;
    this.#vtable = vtable;
    this.#vtableBytes = vtableBytes;
  }

  int8(slot: number, absent: number): number {
    const at = this.#field(slot, 1);
    return at === undefined ? absent : this.buffer.bytes.readInt8(at);
  }

  int32(slot: number): number {
    const at = this.#field(slot, 4);
    return at === undefined ? 0 : this.buffer.bytes.readInt32LE(at);
  }

  uint32(slot: number): number {
    const at = this.#field(slot, 4);
    return at === undefined ? 0 : this.buffer.bytes.readUInt32LE(at);
  }

  /** @throws FormatError for more than 53 bits. */
  int64(slot: number): number {
    const at = this.#field(slot, 8);
    if (at === undefined) return 0;
    const { bytes } = this.buffer;
    const value = bytes.readInt32LE(at + 4) * 2 ** 32 + bytes.readUInt32LE(at);
    if (!Number.isSafeInteger(value))
      this.buffer.fail(at, "a number is out of range, want less than 2^53");
    return value;
  }

  /** @throws FormatError for more than 53 bits or a negative number. */
  size(slot: number): number {
    const value = this.int64(slot);
    if (value < 0) this.buffer.fail(this.position, `a size is ${value}, want at least 0`);
    return value;
  }

  /** The bytes of a string; empty if absent. */
  string(slot: number): ByteString {
    const at = this.#field(slot, 4);
    return at === undefined ? ("" as ByteString) : this.stringAt(at);
  }

  /** The bytes of the string that the offset at `at` leads to. */
  stringAt(at: number): ByteString {
    const { start, count } = this.#vectorAt(at, 1);
    this.buffer.spend(count);
    this.buffer.check(start, count + 1);
    if (this.buffer.bytes[start + count] !== 0) this.buffer.fail(start, "a string has no end");
    return this.buffer.bytes.toString("latin1", start, start + count) as ByteString;
  }

  /** A view of a vector of bytes; undefined if absent. */
  bytes(slot: number): Uint8Array | undefined {
    const at = this.#field(slot, 4);
    if (at === undefined) return undefined;
    const { start, count } = this.#vectorAt(at, 1);
    const { bytes } = this.buffer;
    return new Uint8Array(bytes.buffer, bytes.byteOffset + start, count);
  }

  /** A vector of offsets, four bytes each; empty if absent. */
  offsets(slot: number): FlatVector {
    const at = this.#field(slot, 4);
    return at === undefined ? { start: 0, count: 0 } : this.#vectorAt(at, 4);
  }

  /** A table; undefined if absent. */
  table(slot: number): FlatTable | undefined {
    const at = this.#field(slot, 4);
    return at === undefined ? undefined : this.tableAt(at);
  }

  /** The table that the offset at `at` leads to. */
  tableAt(at: number): FlatTable {
    return new FlatTable(this.buffer, this.buffer.follow(at));
  }

  #vectorAt(at: number, elementBytes: number): FlatVector {
    const vector = this.buffer.follow(at);
    this.buffer.check(vector, 4);
    const count = this.buffer.bytes.readUInt32LE(vector);
    this.buffer.check(vector + 4, count * elementBytes);
    return { start: vector + 4, count };
  }

  #field(slot: number, length: number): number | undefined {
    const entry = 4 + 2 * slot;
    if (entry >= this.#vtableBytes) return undefined;
    const distance = this.buffer.bytes.readUInt16LE(this.#vtable + entry);
    if (distance === 0) return undefined;
    this.buffer.check(this.position + distance, length);
    return this.position + distance;
  }
}
