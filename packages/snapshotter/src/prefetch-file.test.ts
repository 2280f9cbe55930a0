import assert from "node:assert/strict";
import { readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, it } from "node:test";
import { readPrefetchFile, removePrefetchFile, writePrefetchFile } from "./prefetch-file.ts";
import { temporary } from "./testing/temporary.ts";

describe("a prefetch file", () => {
  it("has what was left in it, until it is done with", async () => {
    await using scratch = await temporary();
    const path = join(scratch.path, "prefetch-1");
    assert.equal(await readPrefetchFile(path), undefined);
    const ranges = [{ startSpan: 1, endSpan: 3 }];
    await writePrefetchFile(path, ranges, { spanCount: 10 });
    assert.deepEqual(await readPrefetchFile(path), ranges);
    await removePrefetchFile(path);
    assert.equal(await readPrefetchFile(path), undefined);
  });

  it("is refused if it is damaged, and then it is gone", async () => {
    await using scratch = await temporary();
    const path = join(scratch.path, "prefetch-1");
    await writeFile(path, new Uint8Array(40));
    await assert.rejects(readPrefetchFile(path), { code: "data_loss" });
    assert.deepEqual(await readdir(scratch.path), []);
  });
});
