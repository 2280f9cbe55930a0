import assert from "node:assert/strict";
import { test } from "node:test";
import { Permits } from "./permits.ts";

const never = (): Promise<never> => new Promise(() => {});

test("Permits.run() lets so many of one repository in, and those of another whatever the first one does", async () => {
  const permits = new Permits(2);
  for (let at = 0; at < 5; at += 1) void permits.run("stuck", never);
  assert.equal(await permits.run("other", async () => "in"), "in");
  assert.equal(await permits.run(undefined, async () => "in"), "in");
  const abort = new AbortController();
  const waiting = permits.run("stuck", async () => "in", abort.signal);
  abort.abort(new Error("left"));
  await assert.rejects(waiting, /left/);
});

test("Permits.run() gives a permit back whatever happens", async () => {
  const permits = new Permits(1);
  const failing = async (): Promise<never> => {
    throw new Error("failed");
  };
  await assert.rejects(permits.run("one", failing), /failed/);
  assert.equal(await permits.run("one", async () => "in"), "in");
});
