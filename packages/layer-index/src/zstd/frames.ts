import { AppError, FormatError } from "@soci-ts/core";

const FORMAT = "zstd";
const FRAME_MAGIC = 0xfd2fb528;
/** The first of sixteen magics of frames that hold no data (RFC 8878 §3.1.2). */
const SKIPPABLE_MAGIC = 0x184d2a50;
const MAX_BLOCK_BYTES = 131_072;
const CHECKSUM_BYTES = 4;
const DICTIONARY_ID_BYTES = [0, 1, 2, 4];

/** What the bytes gathered next are (RFC 8878 §3.1). */
type Field = "magic" | "skippable-size" | "descriptor" | "frame-header" | "block-header";

/** What a frame's descriptor byte says. */
interface Descriptor {
  readonly isSingleSegment: boolean;
  readonly hasChecksum: boolean;
  readonly dictionaryIdBytes: number;
  readonly contentSizeBytes: number;
}

/**
 * Walks over the frames and blocks of a zstd stream without decompressing it, ahead of an engine: finds a stream that is cut
 * or has junk behind it, and a window that would take too much memory, before the engine does or doesn't.
 */
export class ZstdFrames {
  readonly #maxWindowBytes: number;
  #field: Field = "magic";
  #bytes: number[] = [];
  #want = 4;
  #skip = 0;
  /** Offset in the stream of the next byte. */
  #offset = 0;
  #descriptor: Descriptor | undefined;

  constructor(maxWindowBytes: number) {
    this.#maxWindowBytes = maxWindowBytes;
  }

  /** @throws FormatError for what is no zstd; AppError `unimplemented` for a window that is too large or a dictionary. */
  push(input: Uint8Array): void {
    for (let at = 0; at < input.length; ) {
      if (this.#skip > 0) {
        const skipped = Math.min(this.#skip, input.length - at);
        this.#skip -= skipped;
        this.#offset += skipped;
        at += skipped;
        continue;
      }
      this.#bytes.push(input[at] as number);
      this.#offset += 1;
      at += 1;
      if (this.#bytes.length === this.#want) this.#take();
    }
  }

  /** @throws FormatError if the stream ends inside a frame or has none. */
  finish(): void {
    const isBetween = this.#field === "magic" && this.#bytes.length === 0 && this.#skip === 0;
    if (!isBetween || this.#offset === 0)
      this.#fail("the stream ends inside a frame, want the rest");
  }

  #take(): void {
    const bytes = this.#bytes;
    this.#bytes = [];
    switch (this.#field) {
      case "magic":
        this.#takeMagic(littleEndian(bytes));
        break;
      case "skippable-size":
        this.#skip = littleEndian(bytes);
        this.#expect("magic", 4);
        break;
      case "descriptor":
        this.#takeDescriptor(bytes[0] as number);
        break;
      case "frame-header":
        this.#takeFrameHeader(bytes);
        break;
      case "block-header":
        this.#takeBlockHeader(littleEndian(bytes));
        break;
    }
  }

  #expect(field: Field, length: number): void {
    this.#field = field;
    this.#want = length;
    if (length === 0) this.#take();
  }

  #takeMagic(magic: number): void {
    if (magic === FRAME_MAGIC) this.#expect("descriptor", 1);
    else if (magic - (magic % 16) === SKIPPABLE_MAGIC) this.#expect("skippable-size", 4);
    else this.#fail("no frame starts here, want one or the end");
  }

  #takeDescriptor(byte: number): void {
    if (bits(byte, 3, 1) !== 0) this.#fail("a reserved bit is set");
    const isSingleSegment = bits(byte, 5, 1) === 1;
    const sizeFlag = bits(byte, 6, 2);
    const descriptor = {
      isSingleSegment,
      hasChecksum: bits(byte, 2, 1) === 1,
      dictionaryIdBytes: DICTIONARY_ID_BYTES[bits(byte, 0, 2)] as number,
      contentSizeBytes: sizeFlag === 0 ? Number(isSingleSegment) : 2 ** sizeFlag,
    };
    this.#descriptor = descriptor;
    const windowBytes = isSingleSegment ? 0 : 1;
    this.#expect(
      "frame-header",
      windowBytes + descriptor.dictionaryIdBytes + descriptor.contentSizeBytes,
    );
  }

  #takeFrameHeader(bytes: readonly number[]): void {
    const { isSingleSegment, dictionaryIdBytes, contentSizeBytes } = this.#descriptor as Descriptor;
    const dictionaryAt = isSingleSegment ? 0 : 1;
    const sizeAt = dictionaryAt + dictionaryIdBytes;
    const stated = littleEndian(bytes.slice(sizeAt));
    const contentSize = contentSizeBytes === 2 ? stated + 256 : stated;
    const window = isSingleSegment ? contentSize : windowSize(bytes[0] as number);
    if (window > this.#maxWindowBytes) {
      this.#refuse(
        `a frame needs a window of ${window} bytes, want at most ${this.#maxWindowBytes}`,
      );
    }
    if (littleEndian(bytes.slice(dictionaryAt, sizeAt)) !== 0) {
      this.#refuse("a frame needs a dictionary, want none");
    }
    this.#expect("block-header", 3);
  }

  #takeBlockHeader(header: number): void {
    const size = Math.floor(header / 8);
    const type = bits(header, 1, 2);
    if (type === 3 || size > MAX_BLOCK_BYTES) this.#fail("a block's header is not valid");
    const isRepeatedByte = type === 1;
    this.#skip = isRepeatedByte ? 1 : size;
    const isLast = header % 2 === 1;
    if (isLast && this.#descriptor?.hasChecksum) this.#skip += CHECKSUM_BYTES;
    if (isLast) this.#expect("magic", 4);
    else this.#expect("block-header", 3);
  }

  #fail(message: string): never {
    throw new FormatError(FORMAT, this.#offset, message);
  }

  #refuse(state: string): never {
    throw new AppError("unimplemented", `Cannot read zstd at offset ${this.#offset}: ${state}`);
  }
}

function bits(value: number, from: number, count: number): number {
  return Math.floor(value / 2 ** from) % 2 ** count;
}

function littleEndian(bytes: readonly number[]): number {
  return bytes.reduceRight((value, byte) => value * 256 + byte, 0);
}

function windowSize(byte: number): number {
  const base = 2 ** (10 + bits(byte, 3, 5));
  return base + (base / 8) * bits(byte, 0, 3);
}
