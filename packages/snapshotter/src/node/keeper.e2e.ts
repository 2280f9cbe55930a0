import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { promisify } from "node:util";
import { delay, silentLogger } from "@soci-ts/core";
import { seededBytes } from "@soci-ts/testkit";
import { mountObstacle } from "../testing/fixture.ts";
import { type PushedImage, TestImages, TestNode } from "../testing/node-fixture.ts";
import { fileLayer, sumOf } from "../testing/node-images.ts";
import { nodeCommand, nodeProcesses, testProgram } from "../testing/node-processes.ts";
import { until } from "../testing/temporary.ts";
import type { WantedKeeper } from "./ask-holder.ts";
import type { LazyNodeLayers } from "./node-layers.ts";
import { ensureKeeper } from "./start-keeper.ts";

const run = promisify(execFile);
const skip = mountObstacle();

const FILES = Array.from({ length: 10 }, (_, at) => seededBytes(600_000, at + 1));

/** Twenty of them are three seconds. */
const TICK_MS = 150;

const keeper = (root: string, version: string, more = ""): WantedKeeper => ({
  command: nodeCommand("keeper", root, `version=${version}&tickMs=${TICK_MS}${more}`),
  program: testProgram(version),
});

/** A node with one layer mounted. */
interface Mounted extends AsyncDisposable {
  readonly node: TestNode;
  readonly layers: LazyNodeLayers;
  /** Reads a file in another process, and fails if it is not what it was. */
  read(file: number): Promise<void>;
}

async function mounted(image: PushedImage, keeperOptions: string): Promise<Mounted> {
  const node = await TestNode.open();
  try {
    const { command, program } = keeper(node.root, "1", keeperOptions);
    const layers = await node.layers("erofs", { keeper: command, program });
    const [request] = image.requests;
    assert.ok(request !== undefined);
    const outcome = await layers.prepareLayer(request);
    assert.ok(outcome.kind === "lazy", JSON.stringify(outcome.story));
    const [directory = ""] = await layers.mountLayers([outcome.layer]);
    const read = async (file: number): Promise<void> => {
      const path = join(directory, "files", String(file));
      const { stdout } = await run("sha256sum", [path], { timeout: 60_000 });
      assert.equal(stdout.slice(0, 64), sumOf(FILES[file] ?? new Uint8Array()));
    };
    return { node, layers, read, [Symbol.asyncDispose]: () => node[Symbol.asyncDispose]() };
  } catch (error) {
    await node[Symbol.asyncDispose]();
    throw error;
  }
}

function only(root: string, role: "keeper" | "serve-layers"): number {
  const pids = nodeProcesses(root, role);
  assert.equal(pids.length, 1, `${role}: ${pids.join(", ")}`);
  return pids[0] ?? 0;
}

/** What the keeper's log says of servers that ended. */
function endsOf({ paths }: TestNode): readonly string[] {
  const lines = readFileSync(paths.keeperLog, "utf8").split("\n");
  return lines.filter((line) => line.includes("another is started"));
}

/** Ends it, and says whether anything is left. */
async function endCleanly({ node, layers }: Mounted): Promise<void> {
  layers.retain(new Set());
  await layers[Symbol.asyncDispose]();
  await node.isClean();
}

describe("a keeper", { skip }, () => {
  let images: TestImages;
  let image: PushedImage;
  before(async () => {
    images = await TestImages.open();
    const files = Object.fromEntries(FILES.map((bytes, at) => [String(at), bytes]));
    image = await images.push([await fileLayer("files", files)], { indexed: true });
  });
  after(() => images[Symbol.asyncDispose]());

  it("replaces a server that hangs, runs out of memory or fails, and counts it as crashed", async () => {
    await using bench = await mounted(image, "&faults=1&heapMiB=80");
    const { node, layers, read } = bench;
    const faults = {
      spin: "no heartbeat",
      "block the pool": "no heartbeat",
      // On a machine with a lot to do V8 may collect garbage for so long before it gives up that it is given up first.
      allocate: "SIGABRT|no heartbeat",
      throw: "its own fault",
    };
    let file = 0;
    const ends: string[] = [];
    for (const [fault, how] of Object.entries(faults)) {
      await read(file);
      const server = only(node.root, "serve-layers");
      await writeFile(join(node.root, "fault"), fault);
      process.kill(server, "SIGUSR2");
      await until(fault, () => existsSync(join(node.root, "fault.done")));
      await read(file + 1);
      file += 2;
      ends.push(`"how":"(${how})","predecessor":"crashed"`);
      // What was read may have been read ahead.
      await until(`${fault} ends it`, () => endsOf(node).length === ends.length, 30_000);
      for (const [at, end] of ends.entries()) {
        assert.match(endsOf(node)[at] ?? "", new RegExp(end));
      }
      await until("another one runs", () => {
        return !nodeProcesses(node.root, "serve-layers").includes(server);
      });
      await run("rm", [join(node.root, "fault.done")]);
    }
    await until("a server answers", async () => (await layers.serverStats()) !== undefined);
    process.kill(only(node.root, "serve-layers"), "SIGKILL");
    await read(9);
    await until("the next answers", async () => (await layers.serverStats())?.kills === 1);
    const stats = await layers.serverStats();
    assert.deepEqual([stats?.crashes, stats?.kills, stats?.restarts], [4, 1, 5]);
    await endCleanly(bench);
  });

  it("has present bytes answered while its server's event loop hangs", async () => {
    await using bench = await mounted(image, "&faults=1");
    const { node, layers, read } = bench;
    for (const at of FILES.keys()) await read(at);
    const [{ slot } = { slot: 0 }] = (await layers.serverStats())?.slots ?? [];
    // Past the page cache, through FUSE. The first time the kernel asks more than that.
    const from = `dd if=${join(node.paths.fuse, `d${slot}`)} iflag=direct bs=64k count=16`;
    const sum = async (): Promise<string> =>
      (await run("sh", ["-c", `${from} 2>/dev/null | sha256sum`])).stdout;
    const before = await sum();
    const server = only(node.root, "serve-layers");
    await writeFile(join(node.root, "fault"), "spin");
    process.kill(server, "SIGUSR2");
    await until("it hangs", () => existsSync(join(node.root, "fault.done")));
    assert.equal(await sum(), before);
    assert.ok(nodeProcesses(node.root, "serve-layers").includes(server), "no successor answered");
    const isNew = (): boolean =>
      nodeProcesses(node.root, "serve-layers").some((pid) => pid !== server);
    await until("another one runs", isNew, 30_000);
    assert.equal(await sum(), before);
    await endCleanly(bench);
  });

  it("does not wait for a server that the kernel does not let die", async () => {
    await using bench = await mounted(image, "&faults=1");
    const { node, read } = bench;
    await read(0);
    const server = only(node.root, "serve-layers");
    const frozen = await node.target("frozen");
    await run("truncate", ["-s", "8M", `${frozen}.img`]);
    await run("mkfs.ext4", ["-q", `${frozen}.img`]);
    await run("mount", ["-o", "loop", `${frozen}.img`, frozen]);
    await run("fsfreeze", ["-f", frozen]);
    try {
      await writeFile(join(node.root, "fault"), "stick");
      process.kill(server, "SIGUSR2");
      await until("a thread is stuck", () => existsSync(join(node.root, "fault.done")));
      await delay(100);
      process.kill(server, "SIGKILL");
      await read(1);
      // A zombie whose last thread is still in the kernel: killed, and not to be reaped.
      const state = /^State:\s+(\S)/m.exec(readFileSync(`/proc/${server}/status`, "utf8"));
      assert.equal(state?.[1], "Z");
    } finally {
      await run("fsfreeze", ["-u", frozen]);
    }
    await until("it is gone", () => !existsSync(`/proc/${server}`));
    await run("umount", [frozen]);
    await endCleanly(bench);
  });

  it("is replaced by another program's while files are read, and stays if that does not work", async () => {
    await using bench = await mounted(image, "");
    const { node, layers, read } = bench;
    const { root, paths } = node;
    process.kill(only(root, "serve-layers"), "SIGKILL");
    let keepers = only(root, "keeper");
    for (const version of ["2", "3"]) {
      const reads = Array.from({ length: 4 }, (_, at) => read(Number(version) + at));
      await ensureKeeper(paths, { ...keeper(root, version), logger: silentLogger });
      await Promise.all(reads);
      assert.notEqual(only(root, "keeper"), keepers);
      keepers = only(root, "keeper");
      const stats = await layers.serverStats();
      assert.equal(stats?.version, version);
      assert.equal(stats.pid, only(root, "serve-layers"));
      assert.equal(stats.kills, 1, "a replaced server is not a killed one");
    }
    const server = only(root, "serve-layers");
    const command = { argv: ["/bin/false"] as const, environment: {} };
    const broken = { command, program: testProgram("4"), logger: silentLogger };
    await ensureKeeper(paths, broken);
    assert.deepEqual([only(root, "keeper"), only(root, "serve-layers")], [keepers, server]);
    process.kill(server, "SIGKILL");
    await read(8);

    const record = await readFile(paths.keeperRecord, "utf8");
    const newer = record.replace('"format":1', '"format":2');
    await writeFile(paths.keeperRecord, newer);
    const refused = { code: "failed_precondition", message: /format is 2/ };
    await assert.rejects(
      ensureKeeper(paths, { ...keeper(root, "1"), logger: silentLogger }),
      refused,
    );
    assert.equal(await readFile(paths.keeperRecord, "utf8"), newer);
    await writeFile(paths.keeperRecord, record);
    await endCleanly(bench);
  });

  it("that was killed is followed by one that its server starts", async () => {
    await using bench = await mounted(image, "");
    const { node, layers, read } = bench;
    for (const round of [0, 1]) {
      const killed = only(node.root, "keeper");
      const server = only(node.root, "serve-layers");
      process.kill(killed, "SIGKILL");
      await until("it is gone", () => nodeProcesses(node.root, "keeper").length === 0);
      const reading = read(round * 3);
      await layers.removeLayers([]); // as tidying does every few seconds
      await reading;
      assert.notEqual(only(node.root, "keeper"), killed);
      const next = only(node.root, "serve-layers");
      assert.notEqual(next, server);
      await read(round * 3 + 1);
      process.kill(next, "SIGKILL");
      await read(round * 3 + 2);
    }
    assert.equal((await layers.serverStats())?.kills, 2);
    await endCleanly(bench);
  });
});
