import { safeNumber } from "@soci-ts/core";
import { FORMAT_NAME } from "./format.ts";

const HIGH = 2 ** 32;

/** Writes a safe integer, also a negative one, as 64 bits. */
export function setInt64(view: DataView, offset: number, value: number): void {
  const high = Math.floor(value / HIGH);
  view.setUint32(offset, value - high * HIGH, true);
  view.setInt32(offset + 4, high, true);
}

/**
 * A 64-bit unsigned integer.
 * @throws FormatError if it is above 2^53 − 1.
 */
export function getUint64(view: DataView, offset: number): number {
  const high = view.getUint32(offset + 4, true);
  if (high < 2 ** 21) return high * HIGH + view.getUint32(offset, true);
  return safeNumber(view.getBigUint64(offset, true), FORMAT_NAME, offset);
}

/** Writes the bytes of a byte string. */
export function setByteString(bytes: Uint8Array, offset: number, value: string): void {
  for (let at = 0; at < value.length; at++) bytes[offset + at] = value.charCodeAt(at);
}

/** The kernel's 32-bit form of a device number (`new_encode_dev`): 12 bits major, 20 bits minor. */
export function encodeDevice(major: number, minor: number): number {
  return ((minor & 0xff) | (major << 8) | ((minor & 0xfff00) << 12)) >>> 0;
}

/** The inverse of {@link encodeDevice}. */
export function decodeDevice(value: number): { major: number; minor: number } {
  return {
    major: (value >>> 8) & 0xfff,
    minor: (value & 0xff) | ((value >>> 12) & 0xfff00),
  };
}
