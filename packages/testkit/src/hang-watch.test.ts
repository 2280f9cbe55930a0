import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";

const MODULE = new URL("./hang-watch.js", import.meta.url).href;

test("HangWatch keeps the input of a reader that never returns, and ends its process", (context) => {
  const folder = mkdtempSync(join(tmpdir(), "soci-hang-"));
  context.after(() => rmSync(folder, { recursive: true }));
  const path = join(folder, "kept", "input");
  const program = `
    import { HangWatch } from ${JSON.stringify(MODULE)};
    const watch = await HangWatch.start({ path: ${JSON.stringify(path)}, mostMs: 300, maxBytes: 10 });
    watch.enter(Buffer.from("fine"));
    watch.enter(Buffer.from("hangs"));
    for (;;);`;
  const child = spawnSync(process.execPath, ["--input-type=module", "--eval", program], {
    encoding: "utf8",
    timeout: 30_000,
  });
  assert.equal(child.signal, "SIGKILL");
  assert.match(child.stderr, /took more than 300 ms/);
  assert.equal(readFileSync(path, "utf8"), "hangs");
});
