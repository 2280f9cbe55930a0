import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { delay } from "@soci-ts/core";
import { seededRandom } from "@soci-ts/testkit";
import { openContract } from "../testing/contract-fixture.ts";
import { mountObstacle } from "../testing/fixture.ts";

/** What a child said: names that must be there, and those that may, because it was killed on the way. */
interface Expectation {
  readonly must: Set<string>;
  readonly may: Set<string>;
}

/** Runs the child, kills it some milliseconds after it said so many lines, and takes down what it said. */
async function runAndKill(
  root: string,
  start: number,
  { lines, delayMs }: { readonly lines: number; readonly delayMs: number },
): Promise<Expectation> {
  const script = fileURLToPath(new URL("../testing/contract-child.js", import.meta.url));
  const child = spawn(process.execPath, [script, root, String(start)], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  let said = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    said += text;
  });
  const ended = once(child, "close").then(() => Promise.reject(new Error(`it ended: ${said}`)));
  while (said.split("\n").length <= lines) await Promise.race([once(child.stdout, "data"), ended]);
  await delay(delayMs);
  child.kill("SIGKILL");
  await assert.rejects(ended);
  return expectationOf(said.split("\n").slice(0, -1));
}

function expectationOf(lines: readonly string[]): Expectation {
  const must = new Set<string>();
  const may = new Set<string>();
  for (const line of lines) {
    const words = line.split(" ");
    for (const [at, word] of words.entries()) {
      const name = words[at + 1] ?? "";
      if (word === "may" || word === "not") may.add(name);
      if (word === "not") must.delete(name);
      if (word === "is") must.add(name);
      if (word === "is" || word === "no") may.delete(name);
    }
  }
  return { must, may };
}

describe("snapshots whose process is killed", { skip: mountObstacle() }, () => {
  it("are all there that were acknowledged, each with its directory; what is left over is taken away", async () => {
    const directory = mkdtempSync(join(tmpdir(), "sn-"));
    const root = join(directory, "r");
    mkdirSync(root);
    const random = seededRandom(7);
    const kept = new Set<string>();
    try {
      for (let turn = 0; turn < 8; turn += 1) {
        const said = await runAndKill(root, turn * 1000, {
          lines: 1 + Math.floor(random() * 24),
          delayMs: Math.floor(random() * 4),
        });
        for (const name of said.must) kept.add(name);
        await using opened = await openContract(root);
        const found = new Set<string>();
        for await (const { name } of opened.service.list([])) {
          found.add(name);
          const { id } = opened.service.chain(name)[0]!;
          assert.ok(existsSync(join(root, `snapshots/${id}/fs`)), `${name} has no directory`);
        }
        for (const name of kept) assert.ok(found.has(name), `${name} is lost`);
        for (const name of found) {
          assert.ok(kept.has(name) || said.may.has(name), `${name} came from nowhere`);
          if (!kept.has(name)) await opened.service.remove(name);
        }
        await opened.service.cleanup();
        assert.equal(readdirSync(join(root, "snapshots")).length, kept.size);
      }
      assert.ok(kept.size > 5, `only ${kept.size} snapshots were made`);
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  });

  it("are not opened with what is half deleted, nor with what was never recorded", async () => {
    const directory = mkdtempSync(join(tmpdir(), "sn-"));
    try {
      {
        await using opened = await openContract(directory);
        await opened.service.prepare("kept", "", {});
      }
      for (const name of ["7/fs/x", "8.rm/fs", "9", "9.rm/fs", "1.rm/fs", "foreign/fs"]) {
        mkdirSync(join(directory, "snapshots", name), { recursive: true });
      }
      await using opened = await openContract(directory);
      await opened.service.cleanup();
      assert.deepEqual(readdirSync(join(directory, "snapshots")).sort(), ["1", "foreign"]);
      await opened.service.prepare("next", "", {});
      await opened.service.cleanup();
      assert.deepEqual(readdirSync(join(directory, "snapshots")).sort(), ["1", "10", "foreign"]);
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  });
});
