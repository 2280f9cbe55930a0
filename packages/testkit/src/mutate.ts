/** What a mutation may make use of, besides the bytes. */
export interface MutateOptions {
  /** Other sound inputs, from which pieces are taken. */
  readonly others?: readonly Uint8Array[] | undefined;
  /** Half-open ranges where fields are, for inputs that are mostly filling; default: everywhere. */
  readonly hot?: readonly (readonly [start: number, end: number])[] | undefined;
  /** Words that mean something in the format, as latin1. */
  readonly tokens?: readonly string[] | undefined;
}

/** Bytes at the borders of what a byte can say, and those that mean something in many formats. */
const BYTES = [0, 1, 0x20, 0x2e, 0x2f, 0x30, 0x37, 0x39, 0x7f, 0x80, 0xfe, 0xff];
/** Numbers at the borders of what 1 to 8 bytes can say, as bytes from the lowest on. */
const EXTREMES: readonly (readonly number[])[] = [1, 2, 4, 8].flatMap((width) => [
  new Array<number>(width).fill(0),
  new Array<number>(width).fill(0xff),
  [1, ...new Array<number>(width - 1).fill(0)],
  [...new Array<number>(width - 1).fill(0xff), 0x7f],
  [...new Array<number>(width - 1).fill(0), 0x80],
  [0xfe, ...new Array<number>(width - 1).fill(0xff)],
]);
const MOST_EDITS = 4;
/** Of ten edits, so many are where fields are. */
const HOT_SHARE = 0.9;

type Edit = (bytes: Buffer, at: number, context: EditContext) => Buffer;

interface EditContext {
  readonly pick: (limit: number) => number;
  readonly options: MutateOptions;
}

/**
 * A copy of `bytes` with one to four random edits: flipped bits, telling bytes, numbers and lengths set to extremes or near the input's
 * length, cuts, removed, doubled, moved and overwritten ranges, pieces of other inputs, words of the format.
 * @param random - numbers in [0, 1); equal ones give equal mutations.
 */
export function mutate(
  bytes: Uint8Array,
  random: () => number,
  options: MutateOptions = {},
): Uint8Array {
  const pick = (limit: number): number => Math.floor(random() * limit);
  let result = Buffer.from(bytes);
  for (let edits = 1 + pick(MOST_EDITS); edits > 0 && result.length > 0; edits -= 1) {
    const edit = EDITS[pick(EDITS.length)] as Edit;
    const at =
      random() < HOT_SHARE ? placeIn(options.hot, result.length, pick) : pick(result.length);
    result = Buffer.from(edit(result, at, { pick, options }));
  }
  return new Uint8Array(result.buffer, result.byteOffset, result.length);
}

function placeIn(
  hot: MutateOptions["hot"],
  length: number,
  pick: (limit: number) => number,
): number {
  const range = hot?.[pick(hot.length)];
  if (range === undefined) return pick(length);
  return Math.min(range[0] + pick(range[1] - range[0]), length - 1);
}

const flipBit: Edit = (bytes, at, { pick }) => {
  const bit = 2 ** pick(8);
  const byte = bytes.readUInt8(at);
  bytes.writeUInt8(Math.floor(byte / bit) % 2 === 1 ? byte - bit : byte + bit, at);
  return bytes;
};

const setByte: Edit = (bytes, at, { pick }) => {
  bytes.writeUInt8(pick(2) === 0 ? (BYTES[pick(BYTES.length)] as number) : pick(256), at);
  return bytes;
};

const setNumber: Edit = (bytes, at, { pick }) => {
  const value = EXTREMES[pick(EXTREMES.length)] as readonly number[];
  bytes.set((pick(2) === 0 ? value : value.toReversed()).slice(0, bytes.length - at), at);
  return bytes;
};

/** Lengths and offsets are often compared with how much there is. */
const setLength: Edit = (bytes, at, { pick }) => {
  if (at + 4 > bytes.length) return bytes;
  const values = [bytes.length - at, bytes.length, pick(bytes.length), pick(64), pick(2 ** 32)];
  const value = Math.max(0, (values[pick(values.length)] as number) + pick(5) - 2) % 2 ** 32;
  if (pick(2) === 0) bytes.writeUInt32LE(value, at);
  else bytes.writeUInt32BE(value, at);
  return bytes;
};

const truncate: Edit = (bytes, at) => bytes.subarray(0, at);

const remove: Edit = (bytes, at, { pick }) =>
  Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + runOf(bytes, pick))]);

const double: Edit = (bytes, at, { pick }) => {
  const end = at + runOf(bytes, pick);
  return Buffer.concat([bytes.subarray(0, end), bytes.subarray(at)]);
};

const overwrite: Edit = (bytes, at, { pick, options }) => {
  const others = options.others ?? [];
  const from = others[pick(others.length + 1)] ?? Uint8Array.from(bytes);
  const start = pick(from.length);
  bytes.set(from.subarray(start, start + Math.min(runOf(bytes, pick), bytes.length - at)), at);
  return bytes;
};

const fill: Edit = (bytes, at, { pick }) =>
  bytes.fill(pick(2) * 255, at, Math.min(at + runOf(bytes, pick), bytes.length));

const insert: Edit = (bytes, at, { pick, options }) => {
  const { tokens = [] } = options;
  const noise = String.fromCharCode(...Array.from({ length: 1 + pick(8) }, () => pick(256)));
  const word = Buffer.from(tokens[pick(tokens.length + 1)] ?? noise, "latin1");
  const isOver = pick(2) === 0;
  return Buffer.concat([
    bytes.subarray(0, at),
    word,
    bytes.subarray(at + (isOver ? word.length : 0)),
  ]);
};

const EDITS: readonly Edit[] = [
  flipBit,
  setByte,
  setByte,
  setNumber,
  setLength,
  truncate,
  remove,
  double,
  overwrite,
  fill,
  insert,
  insert,
];

/** Mostly a few bytes, sometimes much of it. */
function runOf(bytes: Uint8Array, pick: (limit: number) => number): number {
  return 1 + pick(pick(4) === 0 ? bytes.length : 16);
}
