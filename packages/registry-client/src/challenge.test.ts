import assert from "node:assert/strict";
import { test } from "node:test";
import { parseChallenges } from "./challenge.ts";

const shown = (header: string): unknown =>
  parseChallenges(header).map(({ scheme, parameters }) => [scheme, Object.fromEntries(parameters)]);

const CASES: readonly [name: string, header: string, want: unknown][] = [
  [
    "a Bearer challenge",
    'Bearer realm="https://a.example/token",service="r",scope="repository:x:pull,push"',
    [
      [
        "bearer",
        { realm: "https://a.example/token", service: "r", scope: "repository:x:pull,push" },
      ],
    ],
  ],
  [
    "two in one header",
    'Basic realm="a b", Bearer realm=x , service=y',
    [
      ["basic", { realm: "a b" }],
      ["bearer", { realm: "x", service: "y" }],
    ],
  ],
  ["escaped quotes", 'Basic realm="a\\"b\\\\c"', [["basic", { realm: 'a"b\\c' }]]],
  ["a scheme alone", "Negotiate", [["negotiate", {}]]],
  [
    "an opaque value",
    "Negotiate YWJj==, Basic realm=x",
    [
      ["negotiate", {}],
      ["basic", { realm: "x" }],
    ],
  ],
  [
    "odd spacing and case",
    ' , BEARER   Realm = "x" ,,SERVICE="y"',
    [["bearer", { realm: "x", service: "y" }]],
  ],
  ["nothing", "", []],
  ["rubbish", '"', []],
  [
    "an open quote",
    'Bearer realm="x',
    [
      ["bearer", {}],
      ["realm", {}],
    ],
  ],
  ["too much", `Basic realm="${"x".repeat(9000)}"`, []],
];

for (const [name, header, want] of CASES) {
  test(`parseChallenges() reads ${name}`, () => assert.deepEqual(shown(header), want));
}

test("parseChallenges() is quick on hostile headers", () => {
  const started = performance.now();
  for (const unit of ["a ", 'a="', "a=,", '"\\', "a = ", ", ", "Bearer "]) {
    parseChallenges(unit.repeat(Math.floor(8192 / unit.length)));
  }
  assert.ok(performance.now() - started < 1000);
});
