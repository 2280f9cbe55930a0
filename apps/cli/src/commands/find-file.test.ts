import assert from "node:assert/strict";
import { describe, it } from "node:test";
import {
  AppError,
  type ByteString,
  byteStringFrom,
  byteStringFromText,
  displayByteString,
} from "@soci-ts/core";
import type { ErofsAttributes, ErofsDirectory, ErofsFile, ErofsNode } from "@soci-ts/erofs";
import { seededRandom } from "@soci-ts/testkit";
import { findFile, parseDisplayedPath } from "./find-file.ts";

const ATTRIBUTES: ErofsAttributes = {
  mode: 0o755,
  uid: 0,
  gid: 0,
  mtimeSec: 0,
  mtimeNsec: 0,
  xattrs: new Map(),
};

function dir(children: Record<string, ErofsNode>): ErofsDirectory {
  const entries = Object.entries(children).map(([name, node]): [ByteString, ErofsNode] => [
    byteStringFromText(name),
    node,
  ]);
  return { ...ATTRIBUTES, kind: "dir", children: new Map(entries) };
}

function file(dataOffset: number): ErofsFile {
  return { ...ATTRIBUTES, kind: "reg", sizeBytes: 1, device: 0, dataOffset };
}

function link(target: string): ErofsNode {
  return { ...ATTRIBUTES, kind: "symlink", target: byteStringFromText(target) };
}

const TREE = dir({
  usr: dir({
    bin: dir({ tool: file(512), up: link("../../etc/conf"), loop: link("loop") }),
    lib: dir({ straße: file(1024) }),
  }),
  bin: link("usr/bin"),
  etc: dir({ conf: file(2048), abs: link("/usr/bin/tool"), dangling: link("nowhere") }),
  gone: { ...ATTRIBUTES, kind: "char", devmajor: 0, devminor: 0 },
  null: { ...ATTRIBUTES, kind: "char", devmajor: 1, devminor: 3 },
});

describe("findFile()", () => {
  it("finds files by the usual spellings, and through links", () => {
    const cases: readonly [string, number][] = [
      ["usr/bin/tool", 512],
      ["/usr/bin/tool", 512],
      ["./usr//bin/./tool", 512],
      ["usr/lib/../bin/tool", 512],
      ["../../usr/bin/tool", 512],
      ["bin/tool", 512],
      ["bin/up", 2048],
      ["etc/abs", 512],
      ["usr/lib/straße", 1024],
    ];
    for (const [path, offset] of cases) assert.equal(findFile(TREE, path).dataOffset, offset, path);
  });

  it("says why there is no file to read", () => {
    const cases: readonly [string, string, RegExp][] = [
      ["etc/absent", "not_found", /another layer/],
      ["etc/dangling", "not_found", /nowhere/],
      ["gone", "not_found", /gone/],
      ["usr/bin/tool/x", "not_found", /tool\/x/],
      ["usr", "invalid_argument", /a directory/],
      ["null", "invalid_argument", /type char/],
      ["bin/loop", "invalid_argument", /circle/],
    ];
    for (const [path, code, message] of cases) {
      assert.throws(
        () => findFile(TREE, path),
        (error) => error instanceof AppError && error.code === code && message.test(error.message),
        path,
      );
    }
  });
});

describe("parseDisplayedPath()", () => {
  it("reads back any name that displayByteString() shows", () => {
    const next = seededRandom(3);
    const alphabet = Buffer.from("ab \\x.\n\u007f\u00e9\u00ff\u0001", "latin1");
    for (let round = 0; round < 500; round += 1) {
      const bytes = Uint8Array.from(
        { length: 2 + Math.floor(next() * 12) },
        () => alphabet[Math.floor(next() * alphabet.length)] ?? 0,
      );
      const name = byteStringFrom(bytes);
      assert.deepEqual(parseDisplayedPath(`etc/${displayByteString(name)}`), ["etc", name]);
    }
  });
});
