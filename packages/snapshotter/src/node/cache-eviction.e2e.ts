import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { existsSync, linkSync, readdirSync, statSync } from "node:fs";
import { mkdir, rm, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { promisify } from "node:util";
import { delay } from "@soci-ts/core";
import { mount } from "@soci-ts/linux";
import { seededBytes } from "@soci-ts/testkit";
import { mountObstacle } from "../testing/fixture.ts";
import { type PushedImage, TestImages, TestNode } from "../testing/node-fixture.ts";
import { fileLayer, sumOf } from "../testing/node-images.ts";
import { nodeProcesses } from "../testing/node-processes.ts";
import { writeServerSettings } from "../testing/server-settings.ts";
import { until } from "../testing/temporary.ts";
import { allocatedBelow } from "./evictable-layers.ts";
import type { CacheLimits } from "./eviction-policy.ts";
import type { LazyNodeLayers } from "./node-layers.ts";

const run = promisify(execFile);
const skip = mountObstacle();

const FILES = Array.from({ length: 8 }, (_, at) => seededBytes(1_000_000, at + 1));
const SUMS = FILES.map(sumOf);
const QUOTA = 3_000_000;

/** Presence, index, and blocks that are shared by two spans. */
const SLACK = 500_000;

async function openLayers(
  node: TestNode,
  cacheLimits: CacheLimits,
  recentMs = 100,
): Promise<LazyNodeLayers> {
  await writeServerSettings(node.root, { cache: { cacheLimits, recentMs } });
  return await node.layers("erofs");
}

async function prepared(layers: LazyNodeLayers, image: PushedImage): Promise<number> {
  const [request] = image.requests;
  assert.ok(request !== undefined);
  const outcome = await layers.prepareLayer(request);
  assert.ok(outcome.kind === "lazy", JSON.stringify(outcome.story));
  await until("the job ends", () => layers.runningJobs === 0);
  return outcome.layer;
}

/** Reads files in another process, none of them from the kernel's memory. */
async function checkFiles(node: TestNode, layer: number, files = [...FILES.keys()]): Promise<void> {
  const data = join(node.paths.fuse, `d${layer}`);
  const paths = files.map((file) => join(node.paths.mounts, String(layer), "files", String(file)));
  const script =
    'for path; do dd if="$path" iflag=nocache count=0 status=none; done; shift; sha256sum "$@"';
  const { stdout } = await run("sh", ["-c", script, "sh", data, ...paths], TIMEOUT);
  const sums = stdout.split("\n").map((line) => line.slice(0, 64));
  assert.deepEqual(
    sums.filter((sum) => sum !== ""),
    files.map((file) => SUMS[file]),
  );
}

const TIMEOUT = { timeout: 60_000 };

async function counterOf(layers: LazyNodeLayers, name: string): Promise<number> {
  return (await layers.serverStats())?.counters[`soci_layer_${name}_total`] ?? 0;
}

const cachedOf = (node: TestNode): Promise<number> => allocatedBelow(node.paths.layers);

/** The folders of a layer's only cache. */
function cacheFolders(node: TestNode): readonly string[] {
  const directory = node.paths.layers;
  const [layer = ""] = readdirSync(directory);
  return readdirSync(join(directory, layer)).map((name) => join(directory, layer, name));
}

describe("a node whose caches have limits", { skip }, () => {
  let images: TestImages;
  let indexed: PushedImage;
  let streamed: PushedImage;
  before(async () => {
    images = await TestImages.open();
    const files = Object.fromEntries(FILES.map((bytes, at) => [String(at), bytes]));
    const layer = await fileLayer("files", files);
    indexed = await images.push([layer], { indexed: true });
    streamed = await images.push([layer]);
  });
  after(async () => {
    await images[Symbol.asyncDispose]();
  });

  it("keeps to its quota while more than that is read, again and again", async () => {
    await using node = await TestNode.open();
    const layers = await openLayers(node, { quotaBytes: QUOTA, minFreeBytes: 0 });
    const layer = await prepared(layers, indexed);
    await layers.mountLayers([layer]);
    let peak = 0;
    for (let turn = 0; turn < 2; turn += 1) {
      await checkFiles(node, layer, [0, 1, 2, 3]);
      peak = Math.max(peak, await cachedOf(node));
      await checkFiles(node, layer, [4, 5, 6, 7]);
      peak = Math.max(peak, await cachedOf(node));
    }
    await until(
      "it is below the quota",
      async () => (await cachedOf(node)) < QUOTA + SLACK,
      15_000,
    );
    // What was read in the last 100 ms stays, and reading goes on while something goes.
    assert.ok(peak < 3 * QUOTA, `at most ${peak} bytes`);
    assert.ok((await counterOf(layers, "evicted_bytes")) > 8_000_000);
    assert.ok((await counterOf(layers, "evicted_chunks")) > 100);
    assert.equal(await counterOf(layers, "corrupt_chunks"), 0);
    assert.equal(await counterOf(layers, "read_errors"), 0);
    const last = (await layers.serverStats())?.lastEviction;
    assert.ok(last && last.sizeBytes > 0 && Date.now() - last.atMs < 60_000);
  });

  it("reads right what a killed server was evicting", async () => {
    await using node = await TestNode.open();
    const layers = await openLayers(node, { quotaBytes: QUOTA, minFreeBytes: 0 }, 1);
    const layer = await prepared(layers, indexed);
    await layers.mountLayers([layer]);
    for (let turn = 0; turn < 3; turn += 1) {
      await until("a server runs", async () => (await layers.serverStats()) !== undefined);
      const [server = 0] = nodeProcesses(node.root, "serve-layers");
      const reading = checkFiles(node, layer);
      await until("it evicts", async () => (await counterOf(layers, "evicted_bytes")) > 0);
      const all = layers.collectGarbage({ all: true });
      await delay(turn * 3);
      process.kill(server, "SIGKILL");
      assert.match((await all).notes.join(), /^(|nothing was evicted.*)$/);
      await reading;
    }
    await checkFiles(node, layer);
    await until(
      "it is below the quota",
      async () => (await cachedOf(node)) < QUOTA + SLACK,
      15_000,
    );
  });

  it("touches nothing that the kernel reads by a second name", async () => {
    await using node = await TestNode.open();
    const layers = await openLayers(node, { quotaBytes: QUOTA, minFreeBytes: 0 }, 60_000);
    const layer = await prepared(layers, indexed);
    await layers.mountLayers([layer]);
    await checkFiles(node, layer);
    const isComplete = async (): Promise<boolean> =>
      (await layers.layerStats([layer])).get(layer)?.isComplete === true;
    await until("all is there", isComplete);
    const [folder = ""] = cacheFolders(node);
    linkSync(join(folder, "data"), join(node.paths.slots, String(layer), "data"));
    const { blocks } = statSync(join(folder, "data"));
    assert.ok(blocks * 512 > QUOTA);
    // Another server, for which nothing was read lately.
    const [server = 0] = nodeProcesses(node.root, "serve-layers");
    process.kill(server, "SIGKILL");
    await until("another one runs", async () => (await layers.serverStats())?.restarts === 1);
    await layers.collectGarbage({ all: true });
    assert.equal(statSync(join(folder, "data")).blocks, blocks);
    await checkFiles(node, layer);
    assert.equal(await counterOf(layers, "fetched_bytes"), 0);
  });

  it("serves reads on a disk that is full, and makes room there", async () => {
    await using node = await TestNode.open();
    await mkdir(node.root);
    const data = "size=12m";
    await mount({ source: "test", target: node.root, type: "tmpfs", data });
    const layers = await openLayers(node, { quotaBytes: 0, minFreeBytes: 1_000_000 });
    const layer = await prepared(layers, indexed);
    await layers.mountLayers([layer]);
    await writeFile(join(node.root, "filler"), Buffer.alloc(7_000_000, 1));
    await checkFiles(node, layer);
    assert.ok((await counterOf(layers, "evicted_bytes")) > 1_000_000);
    await writeFile(join(node.root, "more"), Buffer.alloc(15_000_000, 1)).catch(() => {}); // it is to be full
    const errors = await counterOf(layers, "cache_errors");
    await checkFiles(node, layer);
    await rm(join(node.root, "more"));
    assert.ok((await counterOf(layers, "cache_errors")) >= errors);
    assert.equal(await counterOf(layers, "read_errors"), 0);
    await checkFiles(node, layer);
  });

  it("gives up a layer that was streamed, and reads it in part after that", async () => {
    await using node = await TestNode.open();
    const layers = await openLayers(node, { quotaBytes: 0, minFreeBytes: 0 }, 1);
    const layer = await prepared(layers, streamed);
    layers.referencedBy(() => new Set([layer]));
    const before = await cachedOf(node);
    assert.ok(before > 8_000_000);
    const { evicted, notes } = await layers.collectGarbage({ all: true });
    assert.deepEqual([evicted?.layers, evicted?.chunks, notes], [1, 0, []]);
    assert.ok((evicted?.sizeBytes ?? 0) > 8_000_000);
    assert.deepEqual(
      cacheFolders(node).flatMap((folder) => readdirSync(folder)),
      ["index", "whole.json"],
    );
    await layers.mountLayers([layer]);
    await checkFiles(node, layer);
    const stats = (await layers.layerStats([layer])).get(layer);
    assert.ok((stats?.requests ?? 0) > 0, "it was not streamed again");
    await delay(5);
    const again = await layers.collectGarbage({ all: true });
    assert.ok((again.evicted?.chunks ?? 0) > 100, JSON.stringify(again));
    await checkFiles(node, layer);
  });

  it("collects what belongs to no layer, and says so if there is nothing", async () => {
    await using node = await TestNode.open();
    const layers = await openLayers(node, { quotaBytes: 0, minFreeBytes: 0 }, 60_000);
    const layer = await prepared(layers, indexed);
    layers.referencedBy(() => new Set([layer]));
    const nothing = { count: 0, sizeBytes: 0 };
    const idle = await layers.collectGarbage({ all: false });
    assert.deepEqual(
      [idle.layers, idle.orphans, idle.temporaries, idle.records, idle.notes],
      [nothing, nothing, nothing, 0, []],
    );
    assert.deepEqual(idle.evicted, { layers: 0, chunks: 0, sizeBytes: 0 });
    const [folder = ""] = cacheFolders(node);
    const orphan = join(node.paths.layers, `sha256-${"0".repeat(64)}`);
    await mkdir(join(orphan, "whole"), { recursive: true });
    await writeFile(join(orphan, "whole", "data"), Buffer.alloc(100_000, 1));
    const [old, young] = ["presence.0a1b2c3d4e5f.tmp", "presence.ffffffffffff.tmp"];
    for (const name of [old, young]) await writeFile(join(folder, name), "x");
    const longAgo = new Date(Date.now() - 3_600_000);
    await utimes(join(folder, old), longAgo, longAgo);
    const report = await layers.collectGarbage({ all: false });
    assert.deepEqual([report.orphans.count, report.temporaries.count], [1, 1]);
    assert.ok(report.orphans.sizeBytes >= 100_000);
    assert.deepEqual([existsSync(orphan), existsSync(join(folder, old))], [false, false]);
    assert.ok(existsSync(join(folder, young)));
    layers.referencedBy(() => new Set());
    await layers.removeLayers([layer]);
    assert.equal(await cachedOf(node), 0);
  });
});
