import { FormatError } from "../errors.ts";

/**
 * A 64-bit integer from the wire as a number.
 * @throws FormatError if it is negative or above 2^53 − 1: no size or offset that we handle is.
 */
export function safeNumber(value: bigint, format: string, offset: number): number {
  if (value < 0n || value > BigInt(Number.MAX_SAFE_INTEGER)) {
    throw new FormatError(format, offset, `${value} is out of range, want 0 to 2^53 - 1`);
  }
  return Number(value);
}

/** `value` rounded up to a multiple of `unit`; exact up to 2^53. */
export function roundUp(value: number, unit: number): number {
  return Math.ceil(value / unit) * unit;
}
