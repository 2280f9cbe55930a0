import { FormatError } from "@soci-ts/core";

const TRAILER_BYTES = 8;

/** What a member's trailer is checked against. */
export interface MemberSums {
  readonly crc: number;
  readonly uncompressedSizeBytes: number;
}

/** Collects one member's trailer: CRC-32 and length modulo 2³² of its output, each 4 bytes little-endian (RFC 1952 §2.3.1). */
export class TrailerReader {
  readonly #startOffset: number;
  readonly #bytes = new Uint8Array(TRAILER_BYTES);
  #have = 0;

  /** `startOffset` is the trailer's place in the compressed stream, for messages. */
  constructor(startOffset: number) {
    this.#startOffset = startOffset;
  }

  get isDone(): boolean {
    return this.#have === TRAILER_BYTES;
  }

  /** Takes what belongs to the trailer from `bytes`, from index `at` on, and returns the index after it. */
  push(bytes: Uint8Array, at: number): number {
    const end = Math.min(at + TRAILER_BYTES - this.#have, bytes.length);
    this.#bytes.set(bytes.subarray(at, end), this.#have);
    this.#have += end - at;
    return end;
  }

  /** @throws FormatError if the trailer tells of other output than was seen. */
  verify(sums: MemberSums): void {
    const view = new DataView(this.#bytes.buffer);
    const crc = view.getUint32(0, true);
    const length = view.getUint32(4, true);
    const wantLength = sums.uncompressedSizeBytes % 2 ** 32;
    if (crc !== sums.crc) {
      const state = `the member's CRC-32 is ${crc}, want ${sums.crc}`;
      throw new FormatError("gzip", this.#startOffset, state);
    }
    if (length !== wantLength) {
      const state = `the member's length is ${length}, want ${wantLength}`;
      throw new FormatError("gzip", this.#startOffset + 4, state);
    }
  }
}
