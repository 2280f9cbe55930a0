import { AppError, FormatError } from "@soci-ts/core";
import { BLOCK_PADDING_BYTES } from "./block-input.ts";
import type { ZstdBlock } from "./decoder.ts";

const FORMAT = "zstd";
const FRAME_MAGIC = 0xfd2fb528;
/** The first of sixteen magics of frames that hold no data (RFC 8878 §3.1.2). */
const SKIPPABLE_MAGIC = 0x184d2a50;
const MAX_BLOCK_BYTES = 131_072;
const BLOCK_KINDS = ["raw", "repeat", "compressed"] as const;
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

/** What takes the blocks of frames. */
export interface ZstdBlocks {
  /** A frame starts that looks back so far at most. */
  startFrame(windowBytes: number): void;
  /** Takes the frame's next block; its bytes are valid only during the call. */
  push(block: ZstdBlock): void;
}

/**
 * Finds the frames and blocks of a zstd stream, whatever the pieces that it comes in, and a stream that is cut or has junk behind it, and refuses
 * a window that would take too much memory.
 */
export class ZstdFrames {
  readonly #maxWindowBytes: number;
  readonly #blocks: ZstdBlocks;
  /** The block whose bytes are gathered, and how many there are so far. */
  #block:
    | { readonly kind: ZstdBlock["kind"]; readonly size: number; readonly want: number }
    | undefined;
  readonly #content = new Uint8Array(MAX_BLOCK_BYTES + BLOCK_PADDING_BYTES);
  #gathered = 0;
  /** What follows the block: a checksum, which the layer's digest makes needless. */
  #skipAfter = 0;
  #field: Field = "magic";
  #bytes: number[] = [];
  #want = 4;
  #skip = 0;
  /** Offset in the stream of the next byte. */
  #offset = 0;
  #descriptor: Descriptor | undefined;

  constructor(maxWindowBytes: number, blocks: ZstdBlocks) {
    this.#maxWindowBytes = maxWindowBytes;
    this.#blocks = blocks;
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
      if (this.#block !== undefined) {
        at += this.#gather(input, at);
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
    const isBetween =
      this.#field === "magic" &&
      this.#bytes.length === 0 &&
      this.#skip === 0 &&
      this.#block === undefined;
    if (!isBetween || this.#offset === 0)
      this.#fail("the stream ends inside a frame, want the rest");
  }

  #gather(input: Uint8Array, at: number): number {
    const want = this.#block?.want ?? 0;
    const piece = input.subarray(at, at + want - this.#gathered);
    this.#content.set(piece, this.#gathered);
    this.#gathered += piece.length;
    this.#offset += piece.length;
    if (this.#gathered === want) this.#endBlock();
    return piece.length;
  }

  #endBlock(): void {
    if (this.#block === undefined) return;
    const { kind, size, want } = this.#block;
    this.#block = undefined;
    this.#content.fill(0, want, want + BLOCK_PADDING_BYTES);
    this.#blocks.push({ kind, size, bytes: this.#content, offset: this.#offset - want });
    this.#skip = this.#skipAfter;
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
    this.#blocks.startFrame(window);
    this.#expect("block-header", 3);
  }

  #takeBlockHeader(header: number): void {
    const size = Math.floor(header / 8);
    const type = bits(header, 1, 2);
    if (type === 3 || size > MAX_BLOCK_BYTES) this.#fail("a block's header is not valid");
    const kind = BLOCK_KINDS[type] as ZstdBlock["kind"];
    const isLast = header % 2 === 1;
    this.#block = { kind, size, want: kind === "repeat" ? 1 : size };
    this.#gathered = 0;
    this.#skipAfter = isLast && this.#descriptor?.hasChecksum ? CHECKSUM_BYTES : 0;
    if (size === 0 && kind !== "repeat") this.#endBlock();
    this.#expect(isLast ? "magic" : "block-header", isLast ? 4 : 3);
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
