import { crc32 } from "node:zlib";
import { FormatError } from "@soci-ts/core";

const HAS_HEADER_CRC = 2;
const HAS_EXTRA = 4;
const HAS_NAME = 8;
const HAS_COMMENT = 16;
const RESERVED_FLAGS = 0xe0;
const FLAGS_AT = 3;

/** The bytes that are the same in every member: ID1, ID2 and CM (RFC 1952 §2.3.1). */
const MAGIC = [0x1f, 0x8b, 8] as const;

/** The parts of a header in the order they come; a part that the flags do not announce is passed over. */
type Part = "fixed" | "extraLength" | "extra" | "name" | "comment" | "headerCrc" | "done";

/** Where each part leads, and the flag that the part itself needs. */
const PARTS: Readonly<Record<Exclude<Part, "done">, { next: Part; flag: number }>> = {
  fixed: { next: "extraLength", flag: 0 },
  extraLength: { next: "extra", flag: HAS_EXTRA },
  extra: { next: "name", flag: HAS_EXTRA },
  name: { next: "comment", flag: HAS_NAME },
  comment: { next: "headerCrc", flag: HAS_COMMENT },
  headerCrc: { next: "done", flag: HAS_HEADER_CRC },
};

/**
 * Reads over one gzip member header (RFC 1952 §2.3), piece by piece, and keeps nothing of it: a name may have any length.
 * The CRC16 is checked where there is one.
 */
export class HeaderReader {
  readonly #startOffset: number;
  #offset: number;
  #part: Part = "fixed";
  /** Bytes still to come of a part with a known length; names end at a NUL instead. */
  #missing = 10;
  #value = 0;
  #flags = 0;
  #crc = 0;

  /** `startOffset` is the header's place in the compressed stream, for messages. */
  constructor(startOffset: number) {
    this.#startOffset = startOffset;
    this.#offset = startOffset;
  }

  get isDone(): boolean {
    return this.#part === "done";
  }

  /** Whether no byte of it has been seen. */
  get isUntouched(): boolean {
    return this.#offset === this.#startOffset;
  }

  /**
   * Takes what belongs to the header from `bytes`, from index `at` on, and returns the index after it.
   * @throws FormatError
   */
  push(bytes: Uint8Array, at: number): number {
    let next = at;
    while (next < bytes.length && this.#part !== "done") {
      const end = this.#pushPart(bytes, next);
      this.#offset += end - next;
      next = end;
      if (this.#missing === 0) this.#enterNextPart();
    }
    return next;
  }

  #pushPart(bytes: Uint8Array, at: number): number {
    const coversItself = this.#part !== "headerCrc";
    const end = this.#endOfPart(bytes, at);
    if (this.#part === "fixed") this.#checkFixed(bytes.subarray(at, end));
    if (this.#part === "extraLength" || this.#part === "headerCrc") {
      for (const byte of bytes.subarray(at, end)) this.#value = (this.#value >>> 8) | (byte << 8);
    }
    if (coversItself) this.#crc = crc32(bytes.subarray(at, end), this.#crc);
    return end;
  }

  #endOfPart(bytes: Uint8Array, at: number): number {
    if (this.#part === "name" || this.#part === "comment") {
      const nul = bytes.indexOf(0, at);
      if (nul === -1) return bytes.length;
      this.#missing = 0;
      return nul + 1;
    }
    const end = Math.min(at + this.#missing, bytes.length);
    this.#missing -= end - at;
    return end;
  }

  #checkFixed(piece: Uint8Array): void {
    for (const [index, byte] of piece.entries()) {
      const at = this.#offset - this.#startOffset + index;
      const magic = MAGIC[at];
      if (magic !== undefined && byte !== magic) throw this.#magicError(at, byte, magic);
      if (at !== FLAGS_AT) continue;
      this.#flags = byte;
      if ((byte & RESERVED_FLAGS) !== 0) {
        throw new FormatError(
          "gzip",
          this.#startOffset + at,
          `the header flags are ${hex(byte)}, want the reserved ones (${hex(RESERVED_FLAGS)}) clear`,
        );
      }
    }
  }

  #magicError(at: number, byte: number, magic: number): FormatError {
    const place = this.#startOffset === 0 ? "the stream starts" : "a further member should start";
    return new FormatError(
      "gzip",
      this.#startOffset + at,
      `found ${hex(byte)}, want ${hex(magic)}: ${place} at offset ${this.#startOffset} but there is no gzip header`,
    );
  }

  #enterNextPart(): void {
    while (this.#part !== "done" && this.#missing === 0) {
      if (this.#part === "headerCrc") this.#checkCrc();
      this.#part = PARTS[this.#part].next;
      this.#missing = this.#lengthOfPart();
    }
  }

  #lengthOfPart(): number {
    if (this.#part === "done" || (PARTS[this.#part].flag & this.#flags) === 0) return 0;
    if (this.#part === "extra") return this.#value;
    return this.#part === "extraLength" || this.#part === "headerCrc" ? 2 : 1;
  }

  #checkCrc(): void {
    if ((this.#flags & HAS_HEADER_CRC) === 0) return;
    const want = this.#crc & 0xffff;
    if (this.#value === want) return;
    throw new FormatError(
      "gzip",
      this.#offset - 2,
      `the header's CRC16 is ${hex(this.#value)}, want ${hex(want)}`,
    );
  }
}

function hex(value: number): string {
  return `0x${value.toString(16).padStart(2, "0")}`;
}
