import assert from "node:assert/strict";
import { test } from "node:test";
import { type GoJson, goJson } from "./go-json.ts";

const text = (value: GoJson): string => Buffer.from(goJson(value)).toString("utf8");

const CASES: readonly [name: string, value: GoJson, want: string][] = [
  ["HTML characters", "a<b>&c", '"a\\u003cb\\u003e\\u0026c"'],
  ["line separators", "\u2028\u2029", '"\\u2028\\u2029"'],
  ["short escapes", '"\\\b\f\n\r\t', '"\\"\\\\\\b\\f\\n\\r\\t"'],
  ["other controls", "\u0000\u001f", '"\\u0000\\u001f"'],
  ["DEL and slash stay", "\u007f/", '"\u007f/"'],
  ["non-ASCII stays", "é😀\ufffd", '"é😀\ufffd"'],
  ["lone surrogate", "\ud800x", '"\ufffdx"'],
  ["struct order and omitted fields", { b: 1, a: undefined, c: "" }, '{"b":1,"c":""}'],
  ["arrays", [1, true, null, []], "[1,true,null,[]]"],
];

for (const [name, value, want] of CASES) {
  test(`goJson() writes ${name}`, () => assert.equal(text(value), want));
}

test("goJson() sorts map keys by their bytes", () => {
  const map = new Map(["\u{1f600}", "\uffee", "9", "10", "a", "B", "<"].map((key) => [key, key]));
  assert.equal(
    text(map),
    '{"10":"10","9":"9","\\u003c":"\\u003c","B":"B","a":"a","\uffee":"\uffee","\u{1f600}":"\u{1f600}"}',
  );
});

test("goJson() refuses numbers that Go's integers cannot hold", () => {
  for (const value of [0.5, Number.NaN, 2 ** 53]) assert.throws(() => goJson(value), TypeError);
});
