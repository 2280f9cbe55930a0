import assert from "node:assert/strict";
import {
  linkSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  truncateSync,
  unlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { ffiAvailable } from "./ffi.ts";
import { setImmutable } from "./immutable.ts";

const skip =
  (process.getuid?.() !== 0 && "files are made immutable by root") ||
  (!ffiAvailable() && "koffi is not installed");

test("setImmutable() keeps everybody from changing a file, until it is taken back", {
  skip,
}, () => {
  const folder = mkdtempSync(join(tmpdir(), "soci-immutable-"));
  const path = join(folder, "file");
  try {
    writeFileSync(path, "content");
    if (!setImmutable(path, true)) return; // this file system has no such thing
    assert.equal(setImmutable(path, true), true);
    for (const change of [
      () => writeFileSync(path, "other"),
      () => truncateSync(path, 1),
      () => unlinkSync(path),
      () => linkSync(path, `${path}2`),
    ]) {
      assert.throws(change, { code: "EPERM" });
    }
    assert.equal(readFileSync(path, "utf8"), "content");
    assert.equal(setImmutable(path, false), true);
    writeFileSync(path, "other");
  } finally {
    setImmutable(path, false);
    rmSync(folder, { recursive: true });
  }
});

test("setImmutable() says false where there is no such thing", { skip }, () => {
  assert.equal(setImmutable("/proc/self/status", true), false);
  assert.throws(() => setImmutable("/nowhere/file", true), { code: "ENOENT" });
});
