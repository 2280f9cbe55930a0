/** A place where a gzip stream can be entered: after a member's header, or where a block ends that is not its member's last. */
export interface Boundary {
  /** Bits of the stream before it. */
  readonly bitOffset: number;
  /** Bytes of output before it. */
  readonly outputOffset: number;
}

/** What {@link plainInflate} finds. */
export interface PlainInflated {
  readonly output: Uint8Array;
  readonly boundaries: readonly Boundary[];
}

/** Codes of one length after the other, and the symbols in their order (RFC 1951 §3.2.2). */
interface Huffman {
  readonly counts: Uint16Array;
  readonly symbols: Uint16Array;
}

const LENGTH_ORDER = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];

/** First value and extra bits of length codes 257.. and distance codes, by the rule of RFC 1951 §3.2.5. */
const LENGTHS = extraTable(29, 3, 4);
const DISTANCES = extraTable(30, 1, 2);

/**
 * Inflates all members of a gzip stream the slow way, a bit at a time, from RFC 1951 and RFC 1952 alone: it shares nothing with the engines that
 * it is compared with. Trusts its input.
 */
export function plainInflate(blob: Uint8Array, maxBytes: number): PlainInflated {
  const walk = new Walk(blob, maxBytes);
  while (walk.bitOffset / 8 < blob.length) walk.member();
  return { output: walk.output.subarray(0, walk.length), boundaries: walk.boundaries };
}

class Walk {
  readonly output: Uint8Array;
  readonly boundaries: Boundary[] = [];
  length = 0;
  bitOffset = 0;
  readonly #blob: Uint8Array;
  /** What is left of the byte that `bitOffset` is in, if it is inside of one. */
  #rest = 0;

  constructor(blob: Uint8Array, maxBytes: number) {
    this.#blob = blob;
    this.output = new Uint8Array(maxBytes);
  }

  member(): void {
    this.#header();
    this.#boundary();
    for (;;) {
      const isLast = this.#bits(1) === 1;
      this.#block(this.#bits(2));
      if (isLast) break;
      this.#boundary();
    }
    this.bitOffset = (Math.ceil(this.bitOffset / 8) + 8) * 8;
  }

  #boundary(): void {
    this.boundaries.push({ bitOffset: this.bitOffset, outputOffset: this.length });
  }

  #header(): void {
    let at = this.bitOffset / 8;
    const flags = this.#blob[at + 3] ?? 0;
    at += 10;
    const has = (bit: number): boolean => Math.floor(flags / bit) % 2 === 1;
    if (has(4)) at += 2 + (this.#blob[at] ?? 0) + 256 * (this.#blob[at + 1] ?? 0);
    for (const bit of [8, 16]) if (has(bit)) at = this.#blob.indexOf(0, at) + 1;
    if (has(2)) at += 2;
    this.bitOffset = at * 8;
  }

  #bits(count: number): number {
    let value = 0;
    for (let bit = 0; bit < count; bit += 1) value += this.#bit() * 2 ** bit;
    return value;
  }

  #bit(): number {
    if (this.bitOffset % 8 === 0) this.#rest = this.#blob[this.bitOffset / 8] ?? 0;
    this.bitOffset += 1;
    const bit = this.#rest % 2;
    this.#rest = (this.#rest - bit) / 2;
    return bit;
  }

  #block(type: number): void {
    if (type === 0) this.#stored();
    else this.#codes(...(type === 1 ? fixedCodes() : this.#dynamicCodes()));
  }

  #stored(): void {
    const at = Math.ceil(this.bitOffset / 8);
    const size = (this.#blob[at] ?? 0) + 256 * (this.#blob[at + 1] ?? 0);
    this.output.set(this.#blob.subarray(at + 4, at + 4 + size), this.length);
    this.length += size;
    this.bitOffset = (at + 4 + size) * 8;
  }

  #dynamicCodes(): [Huffman, Huffman] {
    const [literals, distances, lengths] = [
      this.#bits(5) + 257,
      this.#bits(5) + 1,
      this.#bits(4) + 4,
    ];
    const short = new Array<number>(19).fill(0);
    for (const symbol of LENGTH_ORDER.slice(0, lengths)) short[symbol] = this.#bits(3);
    const code = huffman(short);
    const all: number[] = [];
    while (all.length < literals + distances) {
      const symbol = this.#symbol(code);
      if (symbol < 16) all.push(symbol);
      else if (symbol === 16) repeat(all, all.at(-1) ?? 0, 3 + this.#bits(2));
      else repeat(all, 0, symbol === 17 ? 3 + this.#bits(3) : 11 + this.#bits(7));
    }
    return [huffman(all.slice(0, literals)), huffman(all.slice(literals))];
  }

  #codes(literals: Huffman, distances: Huffman): void {
    for (;;) {
      const symbol = this.#symbol(literals);
      if (symbol === 256) return;
      if (symbol < 256) {
        this.output[this.length] = symbol;
        this.length += 1;
        continue;
      }
      // The last length code stands for 258 alone.
      const size = symbol === 285 ? 258 : this.#extra(LENGTHS[symbol - 257]);
      const from = this.length - this.#extra(DISTANCES[this.#symbol(distances)]);
      for (let at = 0; at < size; at += 1)
        this.output[this.length + at] = this.output[from + at] ?? 0;
      this.length += size;
    }
  }

  #extra(entry: readonly [base: number, bits: number] | undefined): number {
    const [base, bits] = entry ?? [0, 0];
    return base + this.#bits(bits);
  }

  #symbol({ counts, symbols }: Huffman): number {
    let [code, first, index] = [0, 0, 0];
    for (let length = 1; length <= 15; length += 1) {
      code += this.#bit();
      const count = counts[length] ?? 0;
      if (code - count < first) return symbols[index + code - first] ?? 0;
      index += count;
      first = (first + count) * 2;
      code *= 2;
    }
    throw new Error(`no code at bit ${this.bitOffset}`);
  }
}

function huffman(lengths: readonly number[]): Huffman {
  const counts = new Uint16Array(16);
  for (const length of lengths) if (length > 0) counts[length] = (counts[length] ?? 0) + 1;
  const order = lengths
    .map((length, symbol) => ({ length, symbol }))
    .filter(({ length }) => length > 0);
  order.sort((a, b) => a.length - b.length || a.symbol - b.symbol);
  return { counts, symbols: Uint16Array.from(order, ({ symbol }) => symbol) };
}

function fixedCodes(): [Huffman, Huffman] {
  const lengthOf = (symbol: number): number => {
    if (symbol < 144 || symbol > 279) return 8;
    return symbol < 256 ? 9 : 7;
  };
  const literals = Array.from({ length: 288 }, (_, symbol) => lengthOf(symbol));
  return [huffman(literals), huffman(new Array<number>(30).fill(5))];
}

function extraTable(codes: number, start: number, each: number): readonly [number, number][] {
  const table: [number, number][] = [];
  let base = start;
  for (let code = 0; code < codes; code += 1) {
    const bits = Math.max(0, Math.floor(code / each) - 1);
    table.push([base, bits]);
    base += 2 ** bits;
  }
  return table;
}

function repeat(list: number[], value: number, count: number): void {
  for (let at = 0; at < count; at += 1) list.push(value);
}
