import assert from "node:assert/strict";
import { test } from "node:test";
import { decodeUtf8AsGo } from "./utf8.ts";

/** What Go 1.25's `json.Unmarshal` makes of these bytes inside a string, one U+FFFD for each bad byte. */
const CASES: readonly [name: string, hex: string, want: string][] = [
  ["ASCII", "6162", "ab"],
  ["valid sequences", "c3a9e282acf09f9880", "é€😀"],
  ["a lone continuation byte", "6180", "a\ufffd"],
  ["a cut sequence of three", "e28261", "\ufffd\ufffda"],
  ["a cut sequence at the end", "61f09f98", "a\ufffd\ufffd\ufffd"],
  ["an overlong form", "c080", "\ufffd\ufffd"],
  ["a surrogate", "eda080", "\ufffd\ufffd\ufffd"],
  ["beyond U+10FFFF", "f4908080", "\ufffd\ufffd\ufffd\ufffd"],
  ["a byte order mark", "efbbbf61", "\ufeffa"],
];

for (const [name, hex, want] of CASES) {
  test(`decodeUtf8AsGo() reads ${name}`, () => {
    assert.equal(decodeUtf8AsGo(Buffer.from(hex, "hex")), want);
  });
}
