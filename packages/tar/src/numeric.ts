/** Powers of the byte and of the octal digit: bitwise operators would wrap these numbers at 2^31. */
const BYTE = 256;
const OCTAL = 8;

const SPACE = 0x20;
const ZERO = 0x30;
const SEVEN = 0x37;

/**
 * A number in octal digits, which NULs and spaces may surround; an empty field is 0. NaN if it holds anything else.
 * @param end - exclusive.
 */
export function parseOctal(bytes: Uint8Array, start: number, end: number): number {
  let at = start;
  let last = end - 1;
  while (at <= last && isBlank(bytes[at])) at += 1;
  while (last >= at && isBlank(bytes[last])) last -= 1;
  let value = 0;
  for (; at <= last; at += 1) {
    const char = bytes[at] as number;
    if (char === 0) break;
    if (char < ZERO || char > SEVEN) return Number.NaN;
    value = value * OCTAL + (char - ZERO);
  }
  return value;
}

/**
 * A number in octal or, where the field's highest bit is set, in base 256 (big-endian two's complement; the bit itself is
 * not part of the number). NaN if it is malformed or does not fit in 64 bits; an infinity if it does, but not in a safe
 * integer: a caller who does not need the number need not mind that.
 * @param end - exclusive.
 */
export function parseNumber(bytes: Uint8Array, start: number, end: number): number {
  const first = bytes[start] as number;
  if (first < 0x80) return parseOctal(bytes, start, end);
  const negative = first % 0x80 >= 0x40;
  let value = negative ? 0xff - first : first - 0x80;
  for (let at = start + 1; at < end; at += 1) {
    const byte = bytes[at] as number;
    value = value * BYTE + (negative ? 0xff - byte : byte);
    // Eight bytes are left to hold it; looked at here, where no digit has been lost yet.
    if (at === end - 8 && value >= 0x80) return Number.NaN;
  }
  return toSafe(negative ? -value - 1 : value);
}

/**
 * Like {@link parseNumber} for an 8-byte field, taken modulo 2^32. Every 8-byte base-256 number fits in 64 bits, so only
 * octal fields can be malformed.
 */
export function parseUint32(bytes: Uint8Array, start: number): number {
  if ((bytes[start] as number) < 0x80) return parseOctal(bytes, start, start + 8) % 2 ** 32;
  let value = 0;
  for (let at = start + 4; at < start + 8; at += 1) value = value * BYTE + (bytes[at] as number);
  return value;
}

/** Surely a safe integer: no need of big ones. */
const SHORT_DECIMAL = /^-?\d{1,15}$/;
const DECIMAL = /^([+-]?)0*(\d{1,19})$/;

/** A 64-bit decimal integer with an optional sign. NaN if it is malformed or does not fit, an infinity if it is not a safe integer. */
export function parseDecimal(text: string): number {
  // The sum turns −0 into 0.
  if (SHORT_DECIMAL.test(text)) return Number(text) + 0;
  const value = parseInt64(text);
  return value === undefined ? Number.NaN : toSafe(Number(value));
}

/** Like {@link parseDecimal}, taken modulo 2^32. NaN if it is malformed. */
export function parseDecimalUint32(text: string): number {
  const value = parseInt64(text);
  return value === undefined ? Number.NaN : Number(BigInt.asUintN(32, value));
}

function parseInt64(text: string): bigint | undefined {
  const match = DECIMAL.exec(text);
  if (match === null) return undefined;
  const magnitude = BigInt(match[2] as string);
  const value = match[1] === "-" ? -magnitude : magnitude;
  return BigInt.asIntN(64, value) === value ? value : undefined;
}

function toSafe(value: number): number {
  if (Number.isSafeInteger(value)) return value;
  return value < 0 ? Number.NEGATIVE_INFINITY : Number.POSITIVE_INFINITY;
}

function isBlank(char: number | undefined): boolean {
  return char === SPACE || char === 0;
}
