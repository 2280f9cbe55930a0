import assert from "node:assert/strict";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { it } from "node:test";
import { warmUpReads } from "./warm-up-reads.ts";

it("warmUpReads() ends by itself and leaves nothing behind, also when it is stopped or was killed", async (t) => {
  const scratch = mkdtempSync(join(tmpdir(), "soci-warm-up-"));
  t.after(() => rmSync(scratch, { recursive: true }));
  const directory = join(scratch, "w");
  writeFileSync(directory, "left behind");
  await warmUpReads(directory, new AbortController().signal);
  assert.equal(existsSync(directory), false);
  const abort = new AbortController();
  const warming = warmUpReads(directory, abort.signal);
  setTimeout(() => abort.abort(), 100);
  await warming;
  assert.equal(existsSync(directory), false);
});
