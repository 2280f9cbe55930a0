import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { duration, platforms, uploadCount } from "./program-options.ts";

describe("duration()", () => {
  it("takes what Go takes, in milliseconds", () => {
    const cases = { "90s": 90_000, "1m30s": 90_000, "1.5h": 5_400_000, "20ms": 20, "0": 0 };
    for (const [text, expected] of Object.entries(cases)) assert.equal(duration(text), expected);
    for (const text of ["", "5", "-1s", "1d", "0s", "1e3s", "999999999h"]) {
      assert.throws(() => duration(text), /Want a duration/, text);
    }
  });
});

describe("uploadCount()", () => {
  it("takes 1 to 64", () => {
    assert.deepEqual([uploadCount("1"), uploadCount("64")], [1, 64]);
    for (const text of ["0", "65", "x", "1.5"]) assert.throws(() => uploadCount(text), /1 to 64/);
  });
});

describe("platforms()", () => {
  it("gathers what is given", () => {
    const parse = platforms().parseArg;
    assert.deepEqual(parse?.("b", parse("a", undefined as never) as never), ["a", "b"]);
  });
});
