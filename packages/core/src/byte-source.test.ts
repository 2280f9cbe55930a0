import assert from "node:assert/strict";
import { test } from "node:test";
import { bytesSource } from "./byte-source.ts";
import { AppError } from "./errors.ts";

test("bytesSource() reads inside and refuses outside", async () => {
  const source = bytesSource(Uint8Array.of(1, 2, 3));
  assert.equal(source.size, 3);
  assert.deepEqual(await source.readAt(1, 2), Uint8Array.of(2, 3));
  assert.deepEqual(await source.readAt(3, 0), new Uint8Array(0));
  for (const [offset, length] of [
    [-1, 1],
    [2, 2],
    [4, 0],
    [0, -1],
    [Number.NaN, 1],
  ] as const) {
    await assert.rejects(
      source.readAt(offset, length),
      (error) => error instanceof AppError && error.code === "out_of_range",
    );
  }
});
