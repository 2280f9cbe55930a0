import { BackwardBits } from "./backward-bits.ts";
import type { BlockInput } from "./block-input.ts";
import { type FseTable, nextState, readTable } from "./fse.ts";

const MAX_BITS = 11;
const MAX_SYMBOLS = 256;
const MAX_WEIGHTS = MAX_SYMBOLS - 1;
/** Weights are 0 to 11. */
const WEIGHT_LIMITS = { maxLog: 6, maxSymbol: 11 + 1 };
/** From this on, a description's first byte is a number of weights, which follow in four bits each. */
const DIRECT = 128;

/** A prefix code: for each number of `maxBits` bits, the symbol that it starts with and how many bits that has (RFC 8878 §4.2). */
export interface HuffmanTable {
  readonly maxBits: number;
  readonly symbols: Uint8Array;
  readonly bits: Uint8Array;
}

/** Reads a code's description. @throws FormatError if it is not of a whole code. */
export function readHuffman(input: BlockInput): HuffmanTable {
  const head = input.byte();
  const weights =
    head >= DIRECT ? directWeights(input, head - DIRECT + 1) : fseWeights(input, head);
  return tableOf(input, weights);
}

function directWeights(input: BlockInput, count: number): number[] {
  const start = input.take(Math.ceil(count / 2));
  return Array.from({ length: count }, (_, at) => {
    const byte = input.bytes[start + (at >> 1)] as number;
    return at % 2 === 0 ? byte >> 4 : byte & 15;
  });
}

/** Two states take turns, until there is no bit for the next one; the other one still has its symbol. */
function fseWeights(input: BlockInput, length: number): number[] {
  const end = input.at + length;
  if (end > input.end) input.fail("a Huffman table is cut off");
  const table = readTable(input, WEIGHT_LIMITS);
  if (input.at > end) input.fail("a Huffman table is longer than it says");
  const bits = new BackwardBits(input, input.at, end);
  const weights = decodeWeights(table, bits);
  if (weights === undefined) return input.fail("a Huffman table has too many weights");
  input.at = end;
  return weights;
}

function decodeWeights(table: FseTable, bits: BackwardBits): number[] | undefined {
  const weights: number[] = [];
  let state = bits.read(table.log);
  let other = bits.read(table.log);
  while (weights.length < MAX_WEIGHTS) {
    weights.push(table.symbols[state] as number);
    state = nextState(table, state, bits);
    if (bits.left < 0) {
      weights.push(table.symbols[other] as number);
      return weights;
    }
    [state, other] = [other, state];
  }
  return undefined;
}

/** The last symbol's weight is what makes the code whole. */
function tableOf(input: BlockInput, weights: readonly number[]): HuffmanTable {
  const sum = weights.reduce((total, weight) => total + (weight === 0 ? 0 : 1 << (weight - 1)), 0);
  const maxBits = 32 - Math.clz32(sum);
  const left = (1 << maxBits) - sum;
  const isWhole = sum > 0 && (left & (left - 1)) === 0;
  if (!isWhole || maxBits > MAX_BITS || weights.length >= MAX_SYMBOLS) {
    input.fail(`a Huffman code of ${weights.length + 1} symbols and ${maxBits} bits is not whole`);
  }
  return fillTable([...weights, 32 - Math.clz32(left)], maxBits);
}

/** The longest codes come first, and among equal ones the lowest symbols. */
function fillTable(weights: readonly number[], maxBits: number): HuffmanTable {
  const symbols = new Uint8Array(1 << maxBits);
  const bits = new Uint8Array(1 << maxBits);
  let at = 0;
  for (let weight = 1; weight <= maxBits; weight += 1) {
    for (const [symbol, own] of weights.entries()) {
      if (own !== weight) continue;
      const end = at + (1 << (weight - 1));
      symbols.fill(symbol, at, end);
      bits.fill(maxBits + 1 - weight, at, end);
      at = end;
    }
  }
  return { maxBits, symbols, bits };
}

/** Decodes the stream in [start, end) of the input to exactly as many bytes as `target` has. @throws FormatError if it has others. */
export function decodeHuffman(
  input: BlockInput,
  [start, end]: readonly [number, number],
  table: HuffmanTable,
  target: Uint8Array,
): void {
  let { left } = new BackwardBits(input, start, end);
  const { maxBits, symbols, bits } = table;
  const { view } = input;
  const mask = (1 << maxBits) - 1;
  for (let at = 0; at < target.length && left >= 0; at += 1) {
    const from = left - maxBits;
    // Before the stream's first bit, there are zeros.
    const code =
      from < 0
        ? (view.getUint32(start, true) << -from) & mask
        : (view.getUint32(start + (from >> 3), true) >>> (from & 7)) & mask;
    target[at] = symbols[code] as number;
    left -= bits[code] as number;
  }
  if (left !== 0) input.fail(`a Huffman stream does not end with its ${target.length} bytes`);
}
