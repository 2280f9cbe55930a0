import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { parseIdRanges } from "./user-namespace.ts";

describe("parseIdRanges()", () => {
  it("reads lines that commas or newlines separate", () => {
    const first = { container: 0, host: 100_000, length: 65_536 };
    const second = { container: 65_536, host: 1, length: 1 };
    assert.deepEqual(parseIdRanges("0:100000:65536"), [first]);
    assert.deepEqual(parseIdRanges("0:100000:65536,65536:1:1"), [first, second]);
    assert.deepEqual(parseIdRanges("0:100000:65536\n65536:1:1\n"), [first, second]);
  });

  const wrong = [
    "",
    "0:1",
    "0:1:0",
    "0:1:-1",
    "a:1:1",
    "0:4294967295:1",
    "0:0:4294967296",
    "0:1:1:1",
  ];
  for (const text of wrong) {
    it(`refuses "${text}"`, () => {
      assert.throws(() => parseIdRanges(text), { code: "invalid_argument" });
    });
  }

  it("refuses more lines than the kernel takes", () => {
    const lines = Array.from({ length: 341 }, (_, at) => `${at}:${at}:1`);
    assert.throws(() => parseIdRanges(lines.join("\n")), { code: "invalid_argument" });
  });
});
