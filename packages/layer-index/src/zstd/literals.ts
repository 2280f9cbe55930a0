import type { BlockInput } from "./block-input.ts";
import { decodeHuffman, type HuffmanTable, readHuffman } from "./huffman.ts";

const MAX_LITERALS = 131_072;
const JUMP_TABLE_BYTES = 6;

type Kind = "raw" | "repeat" | "compressed" | "treeless";
const KINDS: readonly Kind[] = ["raw", "repeat", "compressed", "treeless"];

interface Header {
  readonly kind: Kind;
  readonly size: number;
  /** Of compressed ones. */
  readonly compressedSize: number;
  readonly streams: 1 | 4;
}

/** Decodes the literals of blocks (RFC 8878 §3.1.1.3.1); keeps the code that a later block may use again. */
export class LiteralsDecoder {
  readonly #buffer = new Uint8Array(MAX_LITERALS);
  #table: HuffmanTable | undefined;

  /** A frame starts: there is no code to be used again. */
  reset(): void {
    this.#table = undefined;
  }

  /** The literals at the input's place; valid until the next call, or until the input's bytes change. */
  decode(input: BlockInput): Uint8Array {
    const header = readHeader(input);
    const { kind, size } = header;
    if (size > MAX_LITERALS)
      input.fail(`a block has ${size} literals, want at most ${MAX_LITERALS}`);
    if (kind === "raw") {
      const start = input.take(size);
      return input.bytes.subarray(start, start + size);
    }
    const target = this.#buffer.subarray(0, size);
    if (kind === "repeat") return target.fill(input.byte());
    this.#decodeStreams(input, header, target);
    return target;
  }

  #decodeStreams(input: BlockInput, header: Header, target: Uint8Array): void {
    const end = input.at + header.compressedSize;
    if (end > input.end) input.fail("a block's literals are cut off");
    if (header.kind === "compressed") this.#table = readHuffman(input);
    const table =
      this.#table ?? input.fail("a block's literals need a code, which no block before gave");
    if (input.at > end) input.fail("a Huffman table is longer than its literals");
    if (header.streams === 1) decodeHuffman(input, [input.at, end], table, target);
    else decodeFour(input, end, table, target);
    input.at = end;
  }
}

function readHeader(input: BlockInput): Header {
  const first = input.bytes[input.at] as number;
  const kind = KINDS[first & 3] as Kind;
  const format = (first >> 2) & 3;
  if (kind === "raw" || kind === "repeat") {
    const length = [1, 2, 1, 3][format] as number;
    const size = Math.floor(input.number(length) / (length === 1 ? 8 : 16));
    return { kind, size, compressedSize: 0, streams: 1 };
  }
  const width = [10, 10, 14, 18][format] as number;
  // 4 bits for kind and format, and two sizes: 24, 32 or 40.
  const value = Math.floor(input.number((4 + 2 * width) / 8) / 16);
  const compressedSize = Math.floor(value / 2 ** width);
  return { kind, size: value % 2 ** width, compressedSize, streams: format === 0 ? 1 : 4 };
}

/** Four streams of equal output, the last of what is left; the lengths of the first three come first. */
function decodeFour(input: BlockInput, end: number, table: HuffmanTable, target: Uint8Array): void {
  if (input.at + JUMP_TABLE_BYTES > end) input.fail("a block's literals are cut off");
  const lengths = [input.number(2), input.number(2), input.number(2)];
  const part = Math.ceil(target.length / 4);
  if (3 * part > target.length) input.fail(`${target.length} literals are in four streams`);
  let start = input.at;
  for (let stream = 0; stream < 4; stream += 1) {
    const streamEnd = stream === 3 ? end : start + (lengths[stream] as number);
    if (streamEnd > end) input.fail("a block's literals are cut off");
    const piece = target.subarray(
      stream * part,
      stream === 3 ? target.length : (stream + 1) * part,
    );
    decodeHuffman(input, [start, streamEnd], table, piece);
    start = streamEnd;
  }
}
