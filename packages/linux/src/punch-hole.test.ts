import assert from "node:assert/strict";
import { closeSync, fstatSync, mkdtempSync, openSync, readSync, rmSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { canPunchHoles, punchHole } from "./punch-hole.ts";

const skip = canPunchHoles() ? false : "koffi is not installed";

test("punchHole() frees the blocks of a range and keeps all other bytes", { skip }, async (t) => {
  const directory = mkdtempSync(join(tmpdir(), "soci-hole-"));
  const fd = openSync(join(directory, "file"), "w+");
  t.after(() => {
    closeSync(fd);
    rmSync(directory, { recursive: true, force: true });
  });
  const sizeBytes = 1_000_000;
  writeSync(fd, Buffer.alloc(sizeBytes, 1));
  const before = fstatSync(fd).blocks;
  const [start, end] = [100_001, 900_001];
  await punchHole(fd, start, end);
  const { blocks, size } = fstatSync(fd);
  assert.equal(size, sizeBytes);
  assert.ok((before - blocks) * 512 > end - start - 2 * 4096, `${before} to ${blocks} blocks`);
  const bytes = Buffer.alloc(sizeBytes);
  readSync(fd, bytes, 0, sizeBytes, 0);
  const expected = Buffer.alloc(sizeBytes, 1).fill(0, start, end);
  assert.ok(bytes.equals(expected));
  await punchHole(fd, 5, 5);
});

test("punchHole() says what failed", { skip }, async () => {
  await assert.rejects(punchHole(9999, 0, 4096), { code: "internal", details: { errno: "EBADF" } });
});
