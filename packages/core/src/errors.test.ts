import assert from "node:assert/strict";
import { test } from "node:test";
import { AppError, DigestMismatchError, FormatError } from "./errors.ts";

test("AppError.from() keeps an AppError as it is", () => {
  const error = new FormatError("tar", 512, "bad checksum");
  assert.equal(AppError.from(error), error);
  assert.equal(error.code, "data_loss");
  assert.match(error.message, /offset 512/);
});

const FOREIGN: readonly [string, unknown, string][] = [
  ["an abort", new DOMException("stop", "AbortError"), "cancelled"],
  ["a time-out", new DOMException("late", "TimeoutError"), "deadline_exceeded"],
  ["a missing file", Object.assign(new Error("x"), { code: "ENOENT" }), "not_found"],
  ["a full disk", Object.assign(new Error("x"), { code: "ENOSPC" }), "resource_exhausted"],
  ["a refused connection", Object.assign(new Error("x"), { code: "ECONNREFUSED" }), "unavailable"],
  ["any other error", new Error("x"), "internal"],
  ["a thrown string", "x", "internal"],
];

for (const [name, thrown, code] of FOREIGN) {
  test(`AppError.from() gives ${code} for ${name}`, () => {
    const error = AppError.from(thrown);
    assert.equal(error.code, code);
    assert.equal(error.cause, thrown);
  });
}

test("DigestMismatchError names what, expected and actual", () => {
  const error = new DigestMismatchError("blob", "sha256:aa", "sha256:bb");
  assert.equal(error.message, "Cannot accept blob: its digest is sha256:bb, want sha256:aa");
  assert.deepEqual(error.details, { expected: "sha256:aa", actual: "sha256:bb" });
});
