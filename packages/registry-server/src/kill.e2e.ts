import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { describe, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { deferred } from "@soci-ts/core";
import { checkRegistry } from "./fsck.ts";
import { openRegistryServer } from "./registry-server.ts";
import { ask, freshFolder } from "./testing/harness.ts";

const CHILD = fileURLToPath(new URL("./testing/kill-child.js", import.meta.url));
/** In memory where there is such a folder: a killed process loses nothing that it has written, synced or not, and so more happens in a short life. */
const FOLDER = existsSync("/dev/shm") ? "/dev/shm" : tmpdir();
/** Each kill meets two registries, each somewhere in its own work: starting Node is what takes the time. */
const KILLS = 50;
const REGISTRIES = 2;
const SEED = "seed 1";

/** What the children said, by tag or digest. */
class Told {
  readonly pushed = new Map<string, string>();
  readonly referrers = new Map<string, string>();
  readonly refused: string[] = [];
  readonly deleted = new Map<string, string>();
  /** What a child was killed over: either outcome is right. */
  readonly uncertain = new Set<string>();

  hear(line: string): void {
    const [verb, tag = "", digest = ""] = line.split(" ");
    if (verb === "pushed") this.pushed.set(tag, digest);
    if (verb === "referrer") this.referrers.set(tag, digest);
    if (verb === "refused") this.refused.push(digest);
    if (verb === "deleting") this.uncertain.add(tag);
    if (verb === "deleted") {
      this.uncertain.delete(tag);
      this.deleted.set(tag, this.pushed.get(tag) ?? "");
      this.pushed.delete(tag);
      this.referrers.delete(tag);
    }
  }
}

/** When a child is killed, the same in every run: after so many lines that it said, and a moment more. */
function deathOf(round: number): { readonly lines: number; readonly delayMs: number } {
  const [first = 0, second = 0] = createHash("sha256").update(`${SEED} ${round}`).digest();
  return { lines: 1 + (first % 24), delayMs: (second / 256) * 4 };
}

async function liveAndDie(folder: string, round: number, told: readonly Told[]): Promise<void> {
  const child = spawn(process.execPath, ["--v8-pool-size=0", CHILD, folder, String(round)], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  const exited = once(child, "close");
  let stderr = "";
  child.stderr.on("data", (text: Buffer) => {
    stderr += text.toString();
  });
  const { lines, delayMs } = deathOf(round);
  const { promise: isTime, resolve } = deferred<void>();
  let heard = 0;
  createInterface({ input: child.stdout }).on("line", (line) => {
    told[Number(line[0])]?.hear(line.slice(2));
    heard += 1;
    if (heard === lines) resolve();
  });
  await Promise.race([isTime, exited]);
  await sleep(delayMs);
  child.kill("SIGKILL");
  const [, signal] = await exited;
  assert.equal(signal, "SIGKILL", stderr);
}

async function hold(root: string, told: Told): Promise<void> {
  await using server = await openRegistryServer(root);
  const get = (path: string) => ask(server, "GET", `/v2/r/${path}`);
  const isThere = async (path: string): Promise<boolean> => (await get(path)).status === 200;
  for (const [tag, digest] of told.pushed) {
    if (told.uncertain.has(tag)) continue;
    const manifest = await get(`manifests/${tag}`);
    assert.equal(manifest.headers["Docker-Content-Digest"], digest, `${tag} is lost`);
    const { layers } = JSON.parse(manifest.bytes.toString()) as { layers: { digest: string }[] };
    assert.ok(await isThere(`blobs/${layers[0]?.digest}`), `the layer of ${tag} is lost`);
  }
  for (const [tag, digest] of told.referrers) {
    if (told.uncertain.has(tag)) continue;
    assert.ok(await isThere(`manifests/${digest}`), `the referrer of ${tag} is lost`);
  }
  for (const [tag, digest] of told.deleted) {
    for (const name of [tag, digest]) assert.ok(!(await isThere(`manifests/${name}`)), name);
  }
  for (const digest of told.refused) assert.ok(!(await isThere(`blobs/${digest}`)), digest);
}

describe("registries that are killed", () => {
  it(`${KILLS * REGISTRIES} times during pushes, deletes and garbage collection keep what they acknowledged, and nothing else is to be seen`, async () => {
    await using folder = await freshFolder(FOLDER);
    const told = Array.from({ length: REGISTRIES }, () => new Told());
    const roots = told.map((_, at) => join(folder.path, String(at)));
    for (let round = 0; round < KILLS; round += 1) {
      await liveAndDie(folder.path, round, told);
      for (const root of roots) {
        const { faults, notes, findings } = await checkRegistry(root);
        assert.deepEqual([faults, notes], [0, 0], JSON.stringify(findings));
      }
    }
    for (const [at, root] of roots.entries()) {
      const heard = told[at] ?? new Told();
      await hold(root, heard);
      const report = await checkRegistry(root);
      assert.deepEqual([report.mode, report.findings], ["offline", []]);
      const { pushed, referrers, deleted, refused } = heard;
      const least = Math.min(pushed.size, referrers.size, deleted.size, refused.length);
      assert.ok(least >= 5, `too little was done: ${least}`);
    }
  });
});
