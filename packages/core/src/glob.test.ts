import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Glob } from "./glob.ts";

describe("Glob", () => {
  const rows: [pattern: string, fits: string[], not: string[]][] = [
    ["*", ["", "a", "a/b"], []],
    ["a", ["a"], ["", "aa", "a/b"]],
    ["team/*", ["team/", "team/a", "team/a/b"], ["team", "steam/a"]],
    ["*/app", ["a/app", "a/b/app"], ["app", "a/apps"]],
    ["a*b*c", ["abc", "a/b/c", "abbc", "aXbXbc"], ["ab", "ac", "acb"]],
    ["ab*ba", ["abba", "abXba"], ["aba"]],
    ["a.c", ["a.c"], ["abc"]],
  ];
  for (const [pattern, fits, not] of rows) {
    it(`fits ${pattern}`, () => {
      for (const text of fits) assert.ok(new Glob(pattern).matches(text), text);
      for (const text of not) assert.ok(!new Glob(pattern).matches(text), text);
    });
  }
});
