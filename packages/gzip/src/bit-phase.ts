/** A deflate field: its value and how many bits it has, least significant first (RFC 1951 §3.1.1). */
type Field = readonly [value: number, bitCount: number];

/** An empty block with fixed codes: not final, type 1, and the 7-bit end-of-block code. 3 + 7 = 10 bits. */
const EMPTY_FIXED_BLOCK: readonly Field[] = [
  [0, 1],
  [1, 2],
  [0, 7],
];

/**
 * An empty block with codes of its own, of 3 + 14 + 18·3 + 2·8 + 1 + 2 + 1 = 91 bits: the only way to an odd length. The code
 * lengths 1 and 18 (a run of zeros) get one bit each; literals 0–255 have no code, end-of-block and two distances one bit each.
 */
const EMPTY_DYNAMIC_BLOCK: readonly Field[] = [
  [0, 1], // not final
  [2, 2], // dynamic codes
  [0, 5], // 257 literal and length codes
  [1, 5], // 2 distance codes
  [14, 4], // 18 lengths of code-length codes, in the order 16 17 18 0 … 14 1 of RFC 1951 §3.2.7
  [0, 3], // 16
  [0, 3], // 17
  [1, 3], // 18: canonical code 1
  ...Array.from({ length: 14 }, (): Field => [0, 3]), // 0 8 7 9 6 10 5 11 4 12 3 13 2 14
  [1, 3], // 1: canonical code 0
  [1, 1], // 18: a run of
  [127, 7], // 138 zeros
  [1, 1], // 18: a run of
  [107, 7], // 118 zeros
  [0, 1], // end-of-block: length 1
  [0, 1], // distance 0: length 1
  [0, 1], // distance 1: length 1
  [0, 1], // the end-of-block code
];

/** Index: `bits` of a checkpoint. Value: blocks that decode to nothing and end where the checkpoint's bits begin, zero-padded. */
const PREFIXES: readonly Uint8Array[] = Array.from({ length: 8 }, (_, bits) => prefixFor(bits));

function prefixFor(bits: number): Uint8Array {
  const phase = (8 - bits) % 8;
  const fields: Field[] = phase % 2 === 0 ? [] : [...EMPTY_DYNAMIC_BLOCK];
  while (bitLength(fields) % 8 !== phase) fields.push(...EMPTY_FIXED_BLOCK);
  return pack(fields);
}

function bitLength(fields: readonly Field[]): number {
  return fields.reduce((sum, [, bitCount]) => sum + bitCount, 0);
}

function pack(fields: readonly Field[]): Uint8Array {
  const bytes = new Uint8Array(Math.ceil(bitLength(fields) / 8));
  let at = 0;
  for (const [value, bitCount] of fields) {
    for (let bit = 0; bit < bitCount; bit++, at++) {
      const index = at >>> 3;
      bytes[index] = (bytes[index] ?? 0) | (((value >>> bit) & 1) << (at & 7));
    }
  }
  return bytes;
}

/** Deflate data in two pieces. */
export interface AlignedDeflate {
  /** A few bytes of our own making; none where the data begins on a byte border. */
  readonly head: Uint8Array;
  readonly rest: Uint8Array;
}

/**
 * Turns deflate data that begins with the high `bits` (1–7) bits of `compressed[0]` into data that begins on a byte border and
 * decodes to the same: inflate can't be told to begin inside a byte, but empty blocks can fill the byte up. Copies nothing: `rest` is a view.
 */
export function alignToByte(compressed: Uint8Array, bits: number): AlignedDeflate {
  const prefix = PREFIXES[bits];
  if (bits === 0 || prefix === undefined) return { head: new Uint8Array(0), rest: compressed };
  const head = prefix.slice();
  const shared = prefix.length - 1;
  const lowBits = (1 << (8 - bits)) - 1;
  head[shared] = (prefix[shared] ?? 0) | ((compressed[0] ?? 0) & ~lowBits);
  return { head, rest: compressed.subarray(1) };
}
