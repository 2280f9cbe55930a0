import assert from "node:assert/strict";
import { test } from "node:test";
import { FormatError } from "../errors.ts";
import {
  byteStringBytes,
  byteStringFrom,
  byteStringFromText,
  compareByteStrings,
  displayByteString,
} from "./byte-string.ts";
import { concatBytes } from "./concat.ts";
import { roundUp, safeNumber } from "./numbers.ts";

test("byteStringFrom() and byteStringBytes() keep every byte value", () => {
  const bytes = Uint8Array.from({ length: 256 }, (_, value) => value);
  assert.deepEqual(Uint8Array.from(byteStringBytes(byteStringFrom(bytes))), bytes);
});

test("displayByteString() shows UTF-8 as text and the rest escaped", () => {
  assert.equal(displayByteString(byteStringFromText("né/ø")), "né/ø");
  assert.equal(displayByteString(byteStringFrom(Uint8Array.of(0x61, 0xe9))), "a\\xe9");
  assert.equal(displayByteString(byteStringFromText("a\nb\\\u001b[0m")), "a\\x0ab\\\\\\x1b[0m");
});

test("compareByteStrings() orders by bytes", () => {
  const names = ["é", "z", "a", "aa", ""].map(byteStringFromText);
  assert.deepEqual(
    [...names].sort(compareByteStrings),
    ["", "a", "aa", "z", "é"].map(byteStringFromText),
  );
});

test("concatBytes() joins views", () => {
  assert.deepEqual(
    concatBytes([Uint8Array.of(1), new Uint8Array(0), Uint8Array.of(2, 3).subarray(1)]),
    Uint8Array.of(1, 3),
  );
});

test("safeNumber() refuses what a number can't hold", () => {
  assert.equal(safeNumber(2n ** 53n - 1n, "ztoc", 4), Number.MAX_SAFE_INTEGER);
  assert.throws(() => safeNumber(2n ** 53n, "ztoc", 4), FormatError);
  assert.throws(() => safeNumber(-1n, "ztoc", 4), FormatError);
});

test("roundUp() is exact above 2^32", () => {
  assert.equal(roundUp(2 ** 40 + 1, 512), 2 ** 40 + 512);
  assert.equal(roundUp(1024, 512), 1024);
});
