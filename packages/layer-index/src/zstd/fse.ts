import type { BackwardBits } from "./backward-bits.ts";
import type { BlockInput } from "./block-input.ts";

/** A table that leads from state to state, one symbol each (RFC 8878 §4.1). */
export interface FseTable {
  /** How many bits the first state has; the table has a state for each number of so many bits. */
  readonly log: number;
  readonly symbols: Uint8Array;
  /** Bits to read for the next state, and what to add to them. */
  readonly bits: Uint8Array;
  readonly bases: Uint16Array;
}

/** What a table of a kind may be. */
export interface FseLimits {
  readonly maxLog: number;
  readonly maxSymbol: number;
}

/** The table of one symbol, which takes no bits. */
export function repeatTable(symbol: number): FseTable {
  const symbols = Uint8Array.of(symbol);
  return { log: 0, symbols, bits: new Uint8Array(1), bases: new Uint16Array(1) };
}

/** The state after `state`. */
export function nextState(table: FseTable, state: number, bits: BackwardBits): number {
  return (table.bases[state] as number) + bits.read(table.bits[state] as number);
}

/** The table for a distribution: how often each symbol comes, in states; -1 is less than one. */
export function buildTable(counts: readonly number[], log: number): FseTable {
  const size = 1 << log;
  const symbols = new Uint8Array(size);
  const next = Uint16Array.from(counts, (count) => Math.abs(count));
  let high = size;
  for (const [symbol, count] of counts.entries()) if (count === -1) symbols[--high] = symbol;
  const step = (size >> 1) + (size >> 3) + 3;
  let at = 0;
  for (const [symbol, count] of counts.entries()) {
    for (let left = count; left > 0; left -= 1) {
      symbols[at] = symbol;
      do at = (at + step) & (size - 1);
      while (at >= high);
    }
  }
  return { log, symbols, ...transitions(symbols, next, log) };
}

function transitions(
  symbols: Uint8Array,
  next: Uint16Array,
  log: number,
): Pick<FseTable, "bits" | "bases"> {
  const bits = new Uint8Array(symbols.length);
  const bases = new Uint16Array(symbols.length);
  for (const [state, symbol] of symbols.entries()) {
    const number = next[symbol] as number;
    next[symbol] = number + 1;
    const count = log - (31 - Math.clz32(number));
    bits[state] = count;
    bases[state] = (number << count) - symbols.length;
  }
  return { bits, bases };
}

/** Reads a table's description. @throws FormatError if it is not one of so many states. */
export function readTable(input: BlockInput, { maxLog, maxSymbol }: FseLimits): FseTable {
  const bits = new ForwardBits(input);
  const log = bits.read(4) + 5;
  if (log > maxLog) input.fail(`a table has 2^${log} states, want at most 2^${maxLog}`);
  const counts: number[] = [];
  let left = 1 << log;
  while (left > 0) {
    const count = readCount(bits, left);
    counts.push(count);
    left -= Math.abs(count);
    if (count === 0) readZeros(bits, counts);
    if (counts.length > maxSymbol + 1)
      input.fail(`a table has ${counts.length} symbols, want at most ${maxSymbol + 1}`);
  }
  if (left < 0) input.fail("a table's counts are more than its states");
  bits.finish();
  return buildTable(counts, log);
}

/** A count needs one bit less where it is small: there are as many short codes as the longest one leaves room for. */
function readCount(bits: ForwardBits, left: number): number {
  const width = 32 - Math.clz32(left + 1);
  const short = bits.peek(width) & ((1 << (width - 1)) - 1);
  const shortCodes = (1 << width) - 2 - left;
  if (short < shortCodes) {
    bits.read(width - 1);
    return short - 1;
  }
  const code = bits.read(width);
  return code < 1 << (width - 1) ? code - 1 : code - shortCodes - 1;
}

function readZeros(bits: ForwardBits, counts: number[]): void {
  let repeat: number;
  do {
    repeat = bits.read(2);
    for (let left = repeat; left > 0; left -= 1) counts.push(0);
  } while (repeat === 3 && counts.length < 256);
}

/** Bits from the lowest on. */
class ForwardBits {
  readonly #input: BlockInput;
  readonly #start: number;
  #at = 0;

  constructor(input: BlockInput) {
    this.#input = input;
    this.#start = input.at;
  }

  read(count: number): number {
    const value = this.peek(count);
    this.#at += count;
    if (this.#start + this.#at / 8 > this.#input.end) this.#input.fail("a table is cut off");
    return value;
  }

  peek(count: number): number {
    const at = this.#start + (this.#at >> 3);
    const { bytes } = this.#input;
    const word =
      (bytes[at] as number) | ((bytes[at + 1] as number) << 8) | ((bytes[at + 2] as number) << 16);
    return (word >> (this.#at & 7)) & ((1 << count) - 1);
  }

  /** What follows starts at the next byte. */
  finish(): void {
    this.#input.at = this.#start + ((this.#at + 7) >> 3);
  }
}
