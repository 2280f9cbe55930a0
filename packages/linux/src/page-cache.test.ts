import assert from "node:assert/strict";
import { mkdtemp, open, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import { ffiAvailable } from "./ffi.ts";
import { dropFilePages, readNothingAhead, writeOut } from "./page-cache.ts";

const skip = ffiAvailable() ? false : "koffi is not installed";

describe("advice on a file's pages", { skip }, () => {
  it("leaves the file as it is, and says no of what is no file", async () => {
    const directory = await mkdtemp(join(tmpdir(), "soci-pages-"));
    try {
      await using file = await open(join(directory, "f"), "w+");
      await file.write(Buffer.alloc(65_536, "x"));
      assert.equal(await dropFilePages(file.fd), true);
      assert.equal(await dropFilePages(file.fd), true);
      const { buffer } = await file.read({ buffer: Buffer.alloc(65_536), position: 0 });
      assert.ok(buffer.equals(Buffer.alloc(65_536, "x")));
      assert.equal(await dropFilePages(999_999), false);
      assert.equal(await readNothingAhead(file.fd), true);
      assert.equal(await readNothingAhead(999_999), false);
      assert.equal(await writeOut(file.fd, 0, 65_536), true);
      assert.equal(await writeOut(999_999, 0, 65_536), false);
    } finally {
      await rm(directory, { recursive: true });
    }
  });
});
