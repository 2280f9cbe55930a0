import { BackwardBits, MOST_BITS } from "./backward-bits.ts";
import type { BlockInput } from "./block-input.ts";
import {
  buildTable,
  type FseLimits,
  type FseTable,
  nextState,
  readTable,
  repeatTable,
} from "./fse.ts";

/** Sequences that a block's header can count: 2 bytes and 0x7f00. */
const MAX_SEQUENCES = 0xffff + 0x7f00;
/** No window is larger than 2^25, so no offset needs more bits. */
const MAX_OFFSET_CODE = 26;

/** How many literals to copy, from how far back then how many bytes: of so many sequences (RFC 8878 §3.1.1.3.2). */
export interface Sequences {
  count: number;
  readonly literals: Uint32Array;
  /** As coded: 1 to 3 mean offsets used before. */
  readonly offsets: Uint32Array;
  readonly matches: Uint32Array;
}

/** Lengths by code: what a code stands for, and how many bits more there are. */
interface Lengths {
  readonly bases: Uint32Array;
  readonly bits: Uint8Array;
}

function lengthsOf(bits: readonly number[], first: number): Lengths {
  const bases = new Uint32Array(bits.length);
  let base = first;
  for (const [code, count] of bits.entries()) {
    bases[code] = base;
    base += 2 ** count;
  }
  return { bases, bits: Uint8Array.from(bits) };
}

const zeros = (count: number): number[] => new Array<number>(count).fill(0);
const LITERAL_LENGTHS = lengthsOf(
  [...zeros(16), 1, 1, 1, 1, 2, 2, 3, 3, 4, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16],
  0,
);
const MATCH_LENGTHS = lengthsOf(
  [...zeros(32), 1, 1, 1, 1, 2, 2, 3, 3, 4, 4, 5, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16],
  3,
);

/** One of the three codes: what its tables may be, and the one that stands for itself. */
interface Code extends FseLimits {
  readonly predefined: FseTable;
}

const repeated = (value: number, count: number): number[] => new Array<number>(count).fill(value);
const LITERAL_CODE: Code = {
  maxLog: 9,
  maxSymbol: 35,
  predefined: buildTable(
    [4, 3, ...repeated(2, 11), 1, 1, 1, ...repeated(2, 9), 3, 2, 1, 1, 1, 1, 1, ...repeated(-1, 4)],
    6,
  ),
};
const OFFSET_CODE: Code = {
  maxLog: 8,
  maxSymbol: 31,
  predefined: buildTable([...repeated(1, 6), 2, 2, 2, ...repeated(1, 15), ...repeated(-1, 5)], 5),
};
const MATCH_CODE: Code = {
  maxLog: 9,
  maxSymbol: 52,
  predefined: buildTable([1, 4, 3, ...repeated(2, 6), ...repeated(1, 37), ...repeated(-1, 7)], 6),
};

/** The tables of a block's three codes. */
interface Tables {
  readonly literals: FseTable;
  readonly offsets: FseTable;
  readonly matches: FseTable;
}

/** Decodes the sequences of blocks; keeps the tables that a later block may use again. */
export class SequencesDecoder {
  #tables: Partial<Tables> = {};
  readonly #sequences: Sequences = {
    count: 0,
    literals: new Uint32Array(MAX_SEQUENCES),
    offsets: new Uint32Array(MAX_SEQUENCES),
    matches: new Uint32Array(MAX_SEQUENCES),
  };

  /** A frame starts: there are no tables to be used again. */
  reset(): void {
    this.#tables = {};
  }

  /** The sequences at the input's place, which end it; valid until the next call. @throws FormatError */
  decode(input: BlockInput): Sequences {
    const sequences = this.#sequences;
    sequences.count = readCount(input);
    if (sequences.count === 0) {
      if (input.at !== input.end) input.fail("a block goes on behind its end");
      return sequences;
    }
    const modes = input.byte();
    if ((modes & 3) !== 0) input.fail("a block's reserved bits are set");
    const before = this.#tables;
    const tables: Tables = {
      literals: readTableOf(input, modes >> 6, LITERAL_CODE, before.literals),
      offsets: readTableOf(input, (modes >> 4) & 3, OFFSET_CODE, before.offsets),
      matches: readTableOf(input, (modes >> 2) & 3, MATCH_CODE, before.matches),
    };
    this.#tables = tables;
    decodeAll(input, tables, sequences);
    return sequences;
  }
}

function readCount(input: BlockInput): number {
  const first = input.byte();
  if (first < 128) return first;
  if (first < 255) return (first - 128) * 256 + input.byte();
  return input.number(2) + 0x7f00;
}

function readTableOf(
  input: BlockInput,
  mode: number,
  code: Code,
  before: FseTable | undefined,
): FseTable {
  if (mode === 0) return code.predefined;
  if (mode === 2) return readTable(input, code);
  if (mode === 3) return before ?? input.fail("a block needs a table, which no block before gave");
  const symbol = input.byte();
  if (symbol > code.maxSymbol) input.fail(`a code is ${symbol}, want at most ${code.maxSymbol}`);
  return repeatTable(symbol);
}

/** A million of these are a layer: so all that the loop needs is at hand. */
function decodeAll(input: BlockInput, tables: Tables, sequences: Sequences): void {
  const { literals, offsets, matches, count } = sequences;
  const { bases: literalBases, bits: literalBits } = LITERAL_LENGTHS;
  const { bases: matchBases, bits: matchBits } = MATCH_LENGTHS;
  const { literals: literalTable, offsets: offsetTable, matches: matchTable } = tables;
  const [literalCodes, offsetCodes, matchCodes] = [
    literalTable.symbols,
    offsetTable.symbols,
    matchTable.symbols,
  ];
  const bits = new BackwardBits(input, input.at, input.end);
  let literalState = bits.read(literalTable.log);
  let offsetState = bits.read(offsetTable.log);
  let matchState = bits.read(matchTable.log);
  for (let at = 0; at < count; at += 1) {
    const offsetCode = offsetCodes[offsetState] as number;
    if (offsetCode > MAX_OFFSET_CODE || bits.left < 0) refuseSequence(input, offsetCode);
    offsets[at] = readOffset(bits, offsetCode);
    const match = matchCodes[matchState] as number;
    matches[at] = (matchBases[match] as number) + bits.read(matchBits[match] as number);
    const literal = literalCodes[literalState] as number;
    literals[at] = (literalBases[literal] as number) + bits.read(literalBits[literal] as number);
    if (at + 1 === count) break;
    literalState = nextState(literalTable, literalState, bits);
    matchState = nextState(matchTable, matchState, bits);
    offsetState = nextState(offsetTable, offsetState, bits);
  }
  if (bits.left !== 0) input.fail("a block's sequences do not end with its bits");
}

function refuseSequence(input: BlockInput, offsetCode: number): never {
  if (offsetCode <= MAX_OFFSET_CODE) return input.fail("a block's sequences are cut off");
  return input.fail(`an offset has ${offsetCode} bits, want at most ${MAX_OFFSET_CODE}`);
}

function readOffset(bits: BackwardBits, code: number): number {
  if (code <= MOST_BITS) return (1 << code) + bits.read(code);
  const high = bits.read(code - MOST_BITS);
  return (1 << code) + high * (1 << MOST_BITS) + bits.read(MOST_BITS);
}
