import assert from "node:assert/strict";
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it, type TestContext } from "node:test";
import { ffiAvailable } from "./ffi.ts";
import { mapShared } from "./shared-memory.ts";

const skip = ffiAvailable() ? false : "koffi is not installed for this platform";

function openFile(t: TestContext, content: Uint8Array): { path: string; fd: number } {
  const directory = mkdtempSync(join(tmpdir(), "soci-shared-"));
  const path = join(directory, "file");
  writeFileSync(path, content);
  const fd = openSync(path, "r+");
  t.after(() => {
    closeSync(fd);
    rmSync(directory, { recursive: true });
  });
  return { path, fd };
}

describe("mapShared()", { skip }, () => {
  it("is the file's bytes, both ways", (t) => {
    const { path, fd } = openFile(t, Buffer.alloc(8192, 7));
    const mapped = mapShared(fd, 8192);
    assert.ok(mapped !== undefined);
    assert.equal(mapped[8191], 7);
    mapped.set([1, 2, 3], 4095);
    assert.deepEqual([...readFileSync(path).subarray(4094, 4099)], [7, 1, 2, 3, 7]);
  });

  it("refuses a file that is too short, and a descriptor that can't be mapped", (t) => {
    const { fd, path } = openFile(t, Buffer.alloc(4096));
    assert.throws(() => mapShared(fd, 4097), { code: "out_of_range" });
    const readOnly = openSync(path, "r");
    t.after(() => closeSync(readOnly));
    assert.throws(() => mapShared(readOnly, 4096), { code: "permission_denied" });
  });
});
