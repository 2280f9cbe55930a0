import assert from "node:assert/strict";
import { it } from "node:test";
import { warmUp } from "./warm-up.ts";

it("warmUp() ends by itself, and soon after it is told to", async () => {
  await warmUp(new AbortController().signal);
  const abort = new AbortController();
  const started = performance.now();
  const warming = warmUp(abort.signal);
  abort.abort();
  await warming;
  assert.ok(performance.now() - started < 5000);
});
