import assert from "node:assert/strict";
import { test } from "node:test";
import { mappedOwnersOf } from "./id-mapping.ts";

const UID = "containerd.io/snapshot/uidmapping";
const GID = "containerd.io/snapshot/gidmapping";

test("mappedOwnersOf() finds what root is outside", () => {
  assert.deepEqual(mappedOwnersOf({ [UID]: "0:100000:65536", [GID]: "1:5:1,0:200000:65536" }), {
    mapping: { uids: "0:100000:65536", gids: "1:5:1,0:200000:65536" },
    root: { uid: 100_000, gid: 200_000 },
  });
  assert.equal(mappedOwnersOf({ other: "x" }), undefined);
});

const LONG = Array.from({ length: 341 }, (_, at) => `${at}:${at}:1`).join(",");
for (const [name, text] of [
  ["text", "root"],
  ["two numbers", "0:1"],
  ["four numbers", "0:1:2:3"],
  ["an empty line", "0:1:1,"],
  ["a negative number", "0:-1:1"],
  ["no length", "0:1:0"],
  ["no root", "1:1:10"],
  ["too large a number", "0:4294967295:1"],
  ["an end that is too large", "0:4294967000:1000"],
  ["too many lines", LONG],
] as const) {
  test(`mappedOwnersOf() refuses ${name}`, () => {
    const code = "invalid_argument";
    assert.throws(() => mappedOwnersOf({ [UID]: text, [GID]: "0:1:1" }), { code });
    assert.throws(() => mappedOwnersOf({ [UID]: "0:1:1", [GID]: text }), { code });
  });
}

test("mappedOwnersOf() refuses one of the two alone", () => {
  assert.throws(() => mappedOwnersOf({ [UID]: "0:1:1" }), { code: "invalid_argument" });
  assert.throws(() => mappedOwnersOf({ [GID]: "0:1:1" }), { code: "invalid_argument" });
});
