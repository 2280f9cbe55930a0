import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { tomlLines } from "./toml-lines.ts";

describe("tomlLines()", () => {
  it("finds tables, keys, quoted and dotted keys, and skips values of several lines", () => {
    const lines = tomlLines(
      [
        "a.b = 1",
        '["x.y".z]',
        "k = '''",
        "not = 1",
        "'''",
        "l = [",
        "  # ]",
        '  "]",',
        "]",
        "m=2",
        "[[t]]",
        "[[t]]",
        "n = 1",
      ].join("\n"),
    );
    assert.deepEqual(Object.fromEntries(lines), {
      "a.b": 1,
      "x.y.z": 2,
      "x.y.z.k": 3,
      "x.y.z.l": 6,
      "x.y.z.m": 10,
      "t.0": 11,
      "t.1": 12,
      "t.1.n": 13,
    });
  });
});
