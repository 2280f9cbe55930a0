import assert from "node:assert/strict";
import { test } from "node:test";
import { AppError } from "@soci-ts/core";
import { type Filterable, parseFilters } from "./filter.ts";

const SNAPSHOTS: readonly Filterable[] = [
  { name: "foo", kind: "active", parent: "", labels: { foo: "true" } },
  {
    name: "bar",
    kind: "view",
    parent: "base",
    labels: { "very complex": "present", 'with \\ and "': "x" },
  },
  { name: "sha256:abc/d", kind: "committed", parent: "foo", labels: { "a.b.c": "o_f.f-w" } },
  { name: "größe €", kind: "committed", parent: "foo", labels: {} },
  { name: "a, b", kind: "active", parent: "bar", labels: { __proto__x: "1", empty: "x" } },
];
const NAMES = SNAPSHOTS.map(({ name }) => name);
const [FOO, BAR, SHA, EURO, AB] = NAMES as [string, string, string, string, string];

const GOOD: readonly (readonly [filters: string | readonly string[], names: readonly string[]])[] =
  [
    ["", NAMES],
    [[], NAMES],
    ["name", NAMES],
    ["parent", NAMES],
    ["labels", []],
    ["other", []],
    ["other!=x", NAMES],
    ["other==x", []],
    ["labels.foo", [FOO]],
    ["labels.foo,name", [FOO]],
    ["labels.foo==true", [FOO]],
    ["labels.foo==wrong", []],
    ["labels.foo!=true", [BAR, SHA, EURO, AB]],
    ['labels."very complex"', [BAR]],
    [String.raw`labels."with \\ and \""==x`, [BAR]],
    ["labels.a.b.c==o_f.f-w", [SHA]],
    ['labels."a.b".c', [SHA]],
    ["name==sha256:abc/d", [SHA]],
    ['name=="sha256:abc/d",parent=="foo"', [SHA]],
    ['parent==""', [FOO]],
    ["kind==committed", [SHA, EURO]],
    ["kind!=committed", [FOO, BAR, AB]],
    ['name=="a, b"', [AB]],
    ["name==foo,labels.none", []],
    [
      ["name==foo", "name==bar"],
      [FOO, BAR],
    ],
    [["name==foo", ""], NAMES],
    ["name== foo", [FOO]],
    ["name ==foo", [FOO]],
    ["name==foo, kind==active", [FOO]],
    ["name==größe", []],
    [String.raw`name=="gr\u00f6\xc3\237e \u20ac"`, [EURO]],
    [String.raw`name=="gr\U000000f6\303\x9fe €"`, [EURO]],
    ["name~=^[fb].*", [FOO, BAR]],
    ["name~=/^a, b$/", [AB]],
    ["name~=|^a, b$|", [AB]],
    ['name~="^(foo|bar)$"', [FOO, BAR]],
    [String.raw`name~=/abc\/d/,kind==committed`, [SHA]],
    ["labels.foo~=^$", [BAR, SHA, EURO, AB]],
    ["labels.constructor", []],
  ];

for (const [filters, names] of GOOD) {
  test(`parseFilters() reads ${JSON.stringify(filters)}`, () => {
    const filter = parseFilters(typeof filters === "string" ? [filters] : filters);
    const matching = SNAPSHOTS.filter((snapshot) => filter.matches(snapshot));
    assert.deepEqual(
      matching.map(({ name }) => name),
      names,
    );
  });
}

const BAD: readonly (readonly [filter: string, position: number])[] = [
  [",", 0],
  ["name==foo,", 10],
  ["name,,kind", 5],
  ["labels.", 7],
  ["labels.?x", 7],
  ["name=", 4],
  ["name==", 6],
  ["name==,kind", 6],
  ["name==.x", 6],
  ["name===x", 4],
  ["name=!x", 4],
  ["name x", 5],
  ["name==foo kind", 9],
  ["name==foo ,kind", 9],
  ["labels.|foo|==x", 7],
  ["name==|foo|", 6],
  ["labels.ns/key==v", 9],
  ["name==/value", 6],
  ['name=="value', 6],
  ['name=="va\nlue"', 6],
  [String.raw`name=="a\qb"`, 8],
  [String.raw`name=="a\x4"`, 8],
  [String.raw`name=="a\477"`, 8],
  [String.raw`name=="a\U00110000"`, 8],
  ["name~=(", 6],
  ["name~=/[abc/", 6],
  ["name~=a**", 6],
  ["ä==x", 0],
];

for (const [filter, position] of BAD) {
  test(`parseFilters() refuses ${JSON.stringify(filter)} and says where`, () => {
    assert.throws(
      () => parseFilters(["name==x", filter]),
      (error) => {
        const { code, details, message } = AppError.from(error);
        assert.equal(code, "invalid_argument");
        assert.equal(details["position"], position, message);
        return true;
      },
    );
  });
}

test("parseFilters() refuses more than is reasonable", () => {
  const code = "invalid_argument";
  assert.throws(() => parseFilters([`name==${"x".repeat(20_000)}`]), { code });
  assert.throws(() => parseFilters(Array.from({ length: 2000 }, () => "name")), { code });
});

test("parseFilters() tells the chainID that all matches have", () => {
  const ref = 'labels."containerd.io/snapshot.ref"==sha256:abc';
  assert.equal(parseFilters([`${ref},parent=="p"`]).chainId, "sha256:abc");
  assert.equal(parseFilters([ref, "name==x"]).chainId, undefined);
  assert.equal(parseFilters([ref.replace("==", "!=")]).chainId, undefined);
  assert.equal(parseFilters(["name==x"]).chainId, undefined);
});
