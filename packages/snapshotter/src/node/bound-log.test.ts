import assert from "node:assert/strict";
import { closeSync, existsSync, openSync, readFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { it } from "node:test";
import { temporary } from "../testing/temporary.ts";
import { boundLog } from "./bound-log.ts";

it("boundLog() begins a log anew under its writer, and keeps what was in it once", async () => {
  await using scratch = await temporary();
  const path = join(scratch.path, "log");
  await boundLog(path, 10);
  const fd = openSync(path, "a");
  try {
    writeSync(fd, "short\n");
    await boundLog(path, 10);
    assert.ok(!existsSync(`${path}.1`));
    writeSync(fd, "longer than that\n");
    await boundLog(path, 10);
    writeSync(fd, "new\n");
    assert.equal(readFileSync(path, "utf8"), "new\n");
    assert.equal(readFileSync(`${path}.1`, "utf8"), "short\nlonger than that\n");
  } finally {
    closeSync(fd);
  }
});
