import { FormatError } from "@soci-ts/core";

const FORMAT = "zstd";

/** Zero bytes that must lie behind a block's, so that words can be read at its end. */
export const BLOCK_PADDING_BYTES = 8;

/** The bytes of one compressed block, read forwards. Every read is checked against its end. */
export class BlockInput {
  /** The block's bytes, and {@link BLOCK_PADDING_BYTES} behind them. */
  readonly bytes: Uint8Array;
  /** Where the next byte is. */
  at = 0;
  readonly end: number;
  /** Of `bytes`: words are read in one go, where it counts. */
  readonly view: DataView;
  readonly #offset: number;

  /** @param offset - where the block starts in the stream, for errors. */
  constructor(bytes: Uint8Array, end: number, offset: number) {
    this.bytes = bytes;
    this.end = end;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    this.#offset = offset;
  }

  byte(): number {
    return this.bytes[this.take(1)] as number;
  }

  /** Passes over `length` bytes, and says where they start. */
  take(length: number): number {
    const start = this.at;
    if (start + length > this.end) this.fail("a block ends too early");
    this.at = start + length;
    return start;
  }

  /** A number of `length` bytes, the lowest first; up to five, which bitwise operators could not hold. */
  number(length: number): number {
    const start = this.take(length);
    let value = 0;
    for (let at = start + length - 1; at >= start; at -= 1)
      value = value * 256 + (this.bytes[at] as number);
    return value;
  }

  /** @throws FormatError at the next byte. */
  fail(message: string): never {
    throw new FormatError(FORMAT, this.#offset + this.at, message);
  }
}
