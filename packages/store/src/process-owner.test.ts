import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import process from "node:process";
import { test } from "node:test";
import { createOwnerName, ownerState } from "./process-owner.ts";

test("ownerState() tells a living process from a dead one", async (t) => {
  const child = spawn(process.execPath, ["-e", "setTimeout(() => {}, 60000)"], { stdio: "ignore" });
  t.after(() => child.kill("SIGKILL"));
  const [boot, namespace] = createOwnerName().split("-");
  const stat = readFileSync(`/proc/${child.pid}/stat`, "latin1");
  const start = stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19];
  const name = `${boot}-${namespace}-${child.pid}-${start}-0123abcd`;
  assert.equal(ownerState(name), "alive");
  assert.equal(ownerState(`${name}.suffix`), "alive");
  assert.equal(ownerState(name.replace(`-${start}-`, `-${Number(start) + 1}-`)), "gone");
  child.kill("SIGKILL");
  await once(child, "exit");
  assert.equal(ownerState(name), "gone");
});

test("ownerState() is unknown for names of another kind or another PID namespace", () => {
  const own = createOwnerName();
  assert.equal(ownerState(own), "alive");
  assert.notEqual(createOwnerName(), own);
  const [boot] = own.split("-");
  for (const name of ["", "stray", `${boot}-1-1-1-0123abcd`, `${own.slice(0, -1)}`]) {
    assert.equal(ownerState(name), "unknown", name);
  }
});
