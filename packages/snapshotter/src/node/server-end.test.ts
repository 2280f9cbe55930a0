import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, it } from "node:test";
import { temporary } from "../testing/temporary.ts";
import { backoffAfterCrash } from "./keep-serving.ts";
import { describeEnd, type EndSigns, endOf, OomWatch, readOomKills } from "./server-end.ts";
import { encodeServerStart, parseServerStart } from "./server-start.ts";

const killed: EndSigns = {
  exitCode: null,
  signal: "SIGKILL",
  wedged: false,
  faulted: false,
  outOfMemory: false,
};

describe("endOf()", () => {
  const ends: readonly (readonly [string, Partial<EndSigns>, "crashed" | "killed", string])[] = [
    ["SIGKILL", {}, "killed", "SIGKILL"],
    ["SIGTERM before it is handled", { signal: "SIGTERM" }, "killed", "SIGTERM"],
    ["the OOM killer", { outOfMemory: true }, "crashed", "SIGKILL, out of memory"],
    ["no beats", { wedged: true }, "crashed", "no heartbeat"],
    ["an uncaught error", { faulted: true }, "crashed", "its own fault"],
    ["V8 out of memory", { signal: "SIGABRT" }, "crashed", "SIGABRT"],
    ["a wild pointer", { signal: "SIGSEGV" }, "crashed", "SIGSEGV"],
    ["a truncated mapping", { signal: "SIGBUS" }, "crashed", "SIGBUS"],
    ["exit()", { signal: null, exitCode: 134 }, "crashed", "exit code 134"],
    ["an exit that says all is well", { signal: null, exitCode: 0 }, "crashed", "exit code 0"],
  ];
  for (const [name, signs, end, text] of ends) {
    it(`takes ${name} for ${end}`, () => {
      assert.equal(endOf({ ...killed, ...signs }), end);
      assert.equal(describeEnd({ ...killed, ...signs }), text);
    });
  }
});

describe("OomWatch", () => {
  it("sees a kill of a moment ago, and none of long ago", () => {
    let kills = 4;
    const watch = new OomWatch(() => kills);
    watch.tick();
    assert.equal(watch.hasKilled, false);
    kills = 5;
    assert.equal(watch.hasKilled, true);
    watch.tick();
    watch.tick();
    assert.equal(watch.hasKilled, true);
    for (let tick = 0; tick < 3; tick += 1) watch.tick();
    assert.equal(watch.hasKilled, false);
  });

  it("reads the kernel's counter", async () => {
    await using scratch = await temporary();
    const path = join(scratch.path, "vmstat");
    await writeFile(path, "pgfault 12\noom_kill 34\nunevictable 0\n");
    assert.equal(readOomKills(path), 34);
    assert.equal(readOomKills(`${path}.none`), 0);
    assert.match(String(readOomKills()), /^\d+$/);
  });
});

describe("backoffAfterCrash()", () => {
  it("doubles up to five seconds, and begins anew after a server that ran for ten", () => {
    const waits: number[] = [];
    for (let waitMs = 0; waits.length < 10; waits.push(waitMs)) {
      waitMs = backoffAfterCrash(waitMs, 20);
    }
    assert.deepEqual(waits, [50, 100, 200, 400, 800, 1600, 3200, 5000, 5000, 5000]);
    assert.equal(backoffAfterCrash(5000, 10_000), 50);
  });
});

describe("parseServerStart()", () => {
  it("reads what was encoded, and takes what it does not understand for a first start", () => {
    const start = { predecessor: "crashed", crashes: 2, kills: 3, beatMs: 1000 } as const;
    assert.deepEqual(parseServerStart(encodeServerStart(start)), start);
    const first = { predecessor: "killed", crashes: 0, kills: 0, beatMs: undefined };
    for (const text of [undefined, "", "7", "null", "[]", '{"predecessor":"left","crashes":"x"}']) {
      assert.deepEqual(parseServerStart(text), first, text);
    }
  });
});
