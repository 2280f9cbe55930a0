import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { type TestContext, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { openStore } from "./index.ts";

const WRITER = fileURLToPath(new URL("./testing/writer.js", import.meta.url));

interface Writer {
  readonly child: ChildProcess;
  readonly lines: string[];
  readonly errors: string[];
}

function startWriter(t: TestContext, root: string, name: string): Writer {
  const child = spawn(process.execPath, [WRITER, root, name], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  t.after(() => child.kill("SIGKILL"));
  const writer: Writer = { child, lines: [], errors: [] };
  let text = "";
  child.stdout?.on("data", (piece: Buffer) => {
    const lines = (text + piece.toString()).split("\n");
    text = lines.pop() ?? "";
    writer.lines.push(...lines);
  });
  child.stderr?.on("data", (piece: Buffer) => writer.errors.push(piece.toString()));
  return writer;
}

async function kill(writer: Writer): Promise<void> {
  const ended = once(writer.child, "close");
  writer.child.kill("SIGKILL");
  await ended;
  assert.deepEqual(writer.errors, []);
}

/** What the store must and may hold after all that the writers said. */
function account(writers: readonly Writer[]): { must: Set<string>; may: Set<string> } {
  const must = new Set<string>();
  const may = new Set<string>();
  for (const line of writers.flatMap(({ lines }) => lines)) {
    const [verb, digest = ""] = line.split(" ");
    if (verb === "added") must.add(digest);
    if (verb === "removing") must.delete(digest);
    if (verb === "removing") may.add(digest);
    if (verb === "removed") may.delete(digest);
  }
  return { must, may };
}

async function check(root: string, writers: readonly Writer[]): Promise<void> {
  await using store = await openStore(root);
  assert.deepEqual(readdirSync(join(root, "tmp")), []);
  const { must, may } = account(writers);
  const found = new Set<string>();
  const named = new Set<string>();
  for (const index of store.listIndexes()) {
    found.add(index.digest);
    for (const digest of [index.digest, ...index.ztocs.map((ztoc) => ztoc.digest)]) {
      await store.readBlob(digest);
      named.add(digest.slice("sha256:".length));
    }
  }
  for (const digest of must) assert.ok(found.has(digest), `index ${digest} is lost`);
  const unaccounted = [...found].filter((digest) => !must.has(digest) && !may.has(digest));
  // The last `added` of each writer may have been done and not said.
  assert.ok(unaccounted.length <= writers.length, `${unaccounted.length} indexes came back`);
  const orphans = readdirSync(join(root, "blobs", "sha256")).filter((name) => !named.has(name));
  assert.ok(orphans.length <= 4 * writers.length, `${orphans.length} blobs that nothing names`);
}

test("a store survives kill -9 of its writers at random points", async (t) => {
  const root = mkdtempSync(join(tmpdir(), "soci-store-"));
  t.after(() => rmSync(root, { recursive: true, force: true }));
  const writers: Writer[] = [];
  for (let round = 0; round < 6; round++) {
    const pair = [startWriter(t, root, `${round}a`), startWriter(t, root, `${round}b`)];
    writers.push(...pair);
    while (pair.some(({ lines, child }) => lines.length < 3 && child.exitCode === null))
      await sleep(5);
    await sleep(Math.random() * 300);
    for (const writer of pair) await kill(writer);
    await check(root, writers);
  }
  assert.ok(writers.flatMap(({ lines }) => lines).length > 50);
});
