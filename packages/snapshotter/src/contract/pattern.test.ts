import assert from "node:assert/strict";
import { test } from "node:test";
import { seededRandom } from "@soci-ts/testkit";
import { compilePattern } from "./pattern.ts";

function matches(source: string, text: string): boolean {
  const pattern = compilePattern(source);
  assert.equal(pattern.kind, "pattern", `${source}: ${JSON.stringify(pattern)}`);
  return pattern.kind === "pattern" && pattern.matches(text);
}

/** Both say the same to these; JavaScript's engine is the oracle. */
const SOURCES = [
  "",
  "a",
  "^a",
  "a$",
  "^$",
  "a|b",
  "^(a|bc)*$",
  "(?:ab)+c?",
  "a{2}",
  "^a{2,3}$",
  "^a{2,}b$",
  "a{0}b",
  "[abc]",
  "^[^abc]+$",
  "[a-c]b",
  "[]a]".replace("]a", "\\]a"),
  "[a-]",
  "[^-a]",
  "\\d+",
  "\\Ba",
  "\\ba\\b",
  "\\w\\W\\w",
  "^\\s*$",
  ".",
  "^.*b.*$",
  "a.c",
  "\\.",
  "a\\+b",
  "a*?b",
  "(a+)+$",
  "x{,2}",
  "a{b",
  "[\\d-]",
  "\\x61",
  "\\t|\\n",
  "(?<n>a)b",
];
const ALPHABET = ["a", "b", "c", " ", "-", ".", "1", "]", "{", "\n", "\t", "+", "é", "€", "😀"];

for (const source of SOURCES) {
  test(`compilePattern() matches ${JSON.stringify(source)} as RegExp does`, () => {
    const random = seededRandom(source.length + 1);
    // Not with the flag u where a lone { or escape is a fault in JavaScript.
    const oracle = new RegExp(source, /\{,|a\{b/.test(source) ? "" : "u");
    for (let turn = 0; turn < 200; turn += 1) {
      const length = Math.floor(random() * 7);
      const text = Array.from(
        { length },
        () => ALPHABET[Math.floor(random() * ALPHABET.length)],
      ).join("");
      assert.equal(matches(source, text), oracle.test(text), JSON.stringify(text));
    }
  });
}

test("compilePattern() knows what Go has and JavaScript has not", () => {
  assert.ok(matches("(?i)^ab[c-e]$", "aBD"));
  assert.ok(!matches("(?i)^ab[c-e]$", "aBF"));
  assert.ok(matches("\\Aab\\z", "ab"));
  assert.ok(matches("(?P<name>x)y", "xy"));
  assert.ok(matches("\\x{20AC}", "a€"));
  assert.ok(matches("[]a]b", "]b"));
});

for (const source of [
  "(",
  ")",
  "a)",
  "[a",
  "[",
  "*",
  "a|*",
  "(?=a)",
  "(?!a)",
  "\\1",
  "\\p{L}",
  "\\",
  "a**",
  "a{2}{3}",
  "a{3,2}",
  "[b-a]",
  "[[:alpha:]]",
  "\\xZZ",
  "(".repeat(100),
  "a{1000}",
  "(a{30}){30}",
]) {
  test(`compilePattern() refuses ${JSON.stringify(source.slice(0, 20))}`, () => {
    assert.equal(compilePattern(source).kind, "fault");
  });
}

test("compilePattern() takes no longer for a pattern that makes others stop", () => {
  const started = performance.now();
  assert.ok(!matches("^(a+)+$", `${"a".repeat(4000)}!`));
  assert.ok(!matches("(a|a)*b", "a".repeat(4000)));
  assert.ok(!matches("(.*)(.*)(.*)(.*)x", "a".repeat(4000)));
  assert.ok(performance.now() - started < 2000);
});
