import assert from "node:assert/strict";
import { chmod, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import { delay, silentLogger } from "@soci-ts/core";
import { keeperUnit } from "./keeper-unit.ts";
import { startWatchdog, watchdogIntervalMs } from "./watchdog.ts";

describe("watchdogIntervalMs()", () => {
  const rows: readonly (readonly [string, Record<string, string>, number | undefined])[] = [
    ["no watchdog", {}, undefined],
    ["a minute", { WATCHDOG_USEC: "60000000" }, 20_000],
    ["for this process", { WATCHDOG_USEC: "3000000", WATCHDOG_PID: "7" }, 1000],
    ["for another process", { WATCHDOG_USEC: "3000000", WATCHDOG_PID: "8" }, undefined],
    ["no number", { WATCHDOG_USEC: "soon" }, undefined],
    ["off", { WATCHDOG_USEC: "0" }, undefined],
  ];
  for (const [name, environment, intervalMs] of rows) {
    it(`knows ${name}`, () => assert.equal(watchdogIntervalMs(environment, 7), intervalMs));
  }
});

describe("startWatchdog()", () => {
  it("reports until it is closed", async () => {
    const folder = await mkdtemp(join(tmpdir(), "soci-dog-"));
    try {
      const said = join(folder, "said");
      const tool = join(folder, "systemd-notify");
      await writeFile(tool, `#!/bin/sh\necho "$NOTIFY_SOCKET $*" >> ${said}\n`);
      await chmod(tool, 0o755);
      const environment = { PATH: folder, NOTIFY_SOCKET: "/s", WATCHDOG_USEC: "300000" };
      const lines = async (): Promise<readonly string[]> =>
        (await readFile(said, "utf8").catch(() => "")).split("\n").slice(0, -1); // none yet
      const watchdog = startWatchdog({ environment }, silentLogger);
      for (let turn = 0; turn < 500 && (await lines()).length < 2; turn += 1) await delay(20);
      await watchdog[Symbol.asyncDispose]();
      const all = await lines();
      assert.ok(all.length >= 2);
      assert.deepEqual([...new Set(all)], ["/s WATCHDOG=1"]);
      await delay(250);
      assert.equal((await lines()).length, all.length);
    } finally {
      await rm(folder, { recursive: true });
    }
  });
});

describe("keeperUnit()", () => {
  it("speaks for its unit from the unit's control group only", () => {
    const none = { NOTIFY_SOCKET: undefined, SOCI_KEEPER_CGROUP: undefined };
    const ours = { NOTIFY_SOCKET: "/s", SOCI_KEEPER_CGROUP: "0::/keeper" };
    assert.deepEqual(keeperUnit({ NOTIFY_SOCKET: "/s" }, "0::/keeper"), ours);
    assert.deepEqual(keeperUnit(ours, "0::/keeper"), ours);
    assert.deepEqual(keeperUnit(ours, "0::/daemon"), none);
    assert.deepEqual(keeperUnit({}, "0::/keeper"), none);
    assert.deepEqual(keeperUnit({ NOTIFY_SOCKET: "/s" }, undefined), none);
  });
});
