import assert from "node:assert/strict";
import { describe, it } from "node:test";
import {
  parseDecimal,
  parseDecimalUint32,
  parseNumber,
  parseOctal,
  parseUint32,
} from "./numeric.ts";

const bytes = (text: string): Uint8Array => Buffer.from(text, "latin1");

const OCTAL: [string, number][] = [
  ["0000644\0", 0o644],
  ["   644 \0", 0o644],
  ["\0\0\0\0\0\0\0\0", 0],
  ["        ", 0],
  ["\x00 12\x0034\0", 0o12],
  ["00000008", Number.NaN],
  ["12 34\0\0\0", Number.NaN],
  ["-1\0\0\0\0\0\0", Number.NaN],
];

describe("parseOctal()", () => {
  for (const [text, want] of OCTAL) {
    it(`reads ${JSON.stringify(text)} as ${want}`, () => {
      assert.equal(parseOctal(bytes(text), 0, text.length), want);
    });
  }
});

const BASE256: [string, string, number][] = [
  ["zero", "\x80\0\0\0\0\0\0\0\0\0\0\0", 0],
  ["8 GiB", "\x80\0\0\0\0\0\0\x02\0\0\0\0", 2 ** 33],
  ["−1", "\xff".repeat(12), -1],
  ["−2", `${"\xff".repeat(11)}\xfe`, -2],
  ["2^53 − 1", "\x80\0\0\0\0\x1f\xff\xff\xff\xff\xff\xff", Number.MAX_SAFE_INTEGER],
  ["2^53: fits in 64 bits only", "\x80\0\0\0\0\x20\0\0\0\0\0\0", Number.POSITIVE_INFINITY],
  ["−2^60: fits in 64 bits only", "\xff\xff\xff\xff\xf0\0\0\0\0\0\0\0", Number.NEGATIVE_INFINITY],
  ["2^63 − 1: the largest", "\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff", Number.POSITIVE_INFINITY],
  ["−2^63: the smallest", "\xff\xff\xff\xff\x80\0\0\0\0\0\0\0", Number.NEGATIVE_INFINITY],
  ["2^64: does not fit", "\x80\0\0\x01\0\0\0\0\0\0\0\0", Number.NaN],
  ["2^63: does not fit", "\x80\0\0\0\x80\0\0\0\0\0\0\0", Number.NaN],
  ["octal", "00000000017\0", 15],
];

describe("parseNumber()", () => {
  for (const [name, text, want] of BASE256) {
    it(`reads ${name}`, () => assert.equal(parseNumber(bytes(text), 0, text.length), want));
  }
});

describe("parseUint32()", () => {
  const table: [string, number][] = [
    ["0000017\0", 15],
    ["\x80\0\0\0\xff\xff\xff\xff", 2 ** 32 - 1],
    ["\x80\0\0\x01\0\0\0\x05", 5],
    ["\xff\xff\xff\xff\xff\xff\xff\xfe", 2 ** 32 - 2],
    ["zzz\0\0\0\0\0", Number.NaN],
  ];
  for (const [text, want] of table) {
    it(`reads ${JSON.stringify(text)} as ${want}`, () =>
      assert.equal(parseUint32(bytes(text), 0), want));
  }
});

describe("parseDecimal()", () => {
  const table: [string, number, number][] = [
    ["0", 0, 0],
    ["-0", 0, 0],
    ["+17", 17, 17],
    ["-1", -1, 2 ** 32 - 1],
    ["00000000000000000000000012", 12, 12],
    ["9007199254740991", Number.MAX_SAFE_INTEGER, 2 ** 32 - 1],
    ["9223372036854775807", Number.POSITIVE_INFINITY, 2 ** 32 - 1],
    ["9223372036854775808", Number.NaN, Number.NaN],
    ["-9223372036854775808", Number.NEGATIVE_INFINITY, 0],
    ["", Number.NaN, Number.NaN],
    ["1_000", Number.NaN, Number.NaN],
    ["0x10", Number.NaN, Number.NaN],
    [" 1", Number.NaN, Number.NaN],
    ["1\n", Number.NaN, Number.NaN],
  ];
  for (const [text, want, modulo] of table) {
    it(`reads ${JSON.stringify(text)} as ${want}, modulo 2^32 as ${modulo}`, () => {
      assert.equal(parseDecimal(text), want);
      assert.equal(parseDecimalUint32(text), modulo);
    });
  }
});
