import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { mkdir, rm, writeFile } from "node:fs/promises";
import { describe, it } from "node:test";
import { delay, silentLogger } from "@soci-ts/core";
import { ownIdentity } from "../process-identity.ts";
import { temporary } from "../testing/temporary.ts";
import { runningKeeper } from "./keeper-record.ts";
import { type NodePaths, nodePaths } from "./node-paths.ts";
import { type EnsureKeeperOptions, ensureKeeper, stopKeeper } from "./start-keeper.ts";

/** Runs `test` with the paths of a root that nothing is mounted below. */
async function rooted(test: (paths: NodePaths) => Promise<void>): Promise<void> {
  await using scratch = await temporary();
  const paths = nodePaths(scratch.path);
  await mkdir(paths.runtime, { recursive: true });
  try {
    await test(paths);
  } finally {
    await rm(paths.runtime, { recursive: true, force: true });
  }
}

describe("runningKeeper()", () => {
  it("is not taken in by a record without its mount", () =>
    rooted(async (paths) => {
      assert.equal(await runningKeeper(paths), undefined);
      await writeFile(paths.keeperRecord, JSON.stringify(ownIdentity()));
      assert.equal(await runningKeeper(paths), undefined);
      await stopKeeper(paths);
    }));
});

describe("ensureKeeper()", () => {
  const shell = (script: string): EnsureKeeperOptions => ({
    command: { argv: ["/bin/sh", "-c", script], environment: { PATH: "/bin" } },
    program: { version: "1", path: "/bin/sh" },
    logger: silentLogger,
  });

  it("says where to look when what it starts ends, and begins a log that is too long anew", () =>
    rooted(async (paths) => {
      await writeFile(paths.keeperLog, Buffer.alloc(17 * 2 ** 20));
      const command = shell("echo no fuse here; exit 1");
      const failed = { code: "unavailable", message: /keeper\.log/ };
      await assert.rejects(ensureKeeper(paths, command), failed);
      assert.equal(readFileSync(paths.keeperLog, "utf8"), "no fuse here\n");
    }));

  it("leaves with its signal's reason, and what it started goes on", () =>
    rooted(async (paths) => {
      const mark = `${paths.root}/done`;
      const command = shell(`sleep 0.2; echo > ${mark}`);
      const abort = new AbortController();
      const waiting = ensureKeeper(paths, command, { signal: abort.signal });
      const left = assert.rejects(waiting, /enough/);
      await delay(50);
      abort.abort(new Error("enough"));
      await left;
      for (let turn = 0; turn < 100 && !existsSync(mark); turn += 1) await delay(20);
      assert.ok(existsSync(mark));
    }));
});
