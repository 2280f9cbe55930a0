import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { it } from "node:test";
import { warmUpReads } from "./warm-up-reads.ts";

const leftovers = (): number =>
  readdirSync(tmpdir()).filter((name) => name.startsWith("soci-warm-up-")).length;

it("warmUpReads() ends by itself and leaves nothing behind, also when it is stopped", async () => {
  const before = leftovers();
  await warmUpReads(new AbortController().signal);
  const abort = new AbortController();
  const warming = warmUpReads(abort.signal);
  setTimeout(() => abort.abort(), 100);
  await warming;
  assert.ok(leftovers() <= before);
});
