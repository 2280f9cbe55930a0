import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { open, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { dropFilePages, mount, unmount } from "@soci-ts/linux";
import { scanTree } from "@soci-ts/testkit";
import { mountObstacle } from "../testing/fixture.ts";
import { type PushedImage, TestImages, TestNode } from "../testing/node-fixture.ts";
import { sumOf, threeLayers } from "../testing/node-images.ts";
import { nodeProcesses } from "../testing/node-processes.ts";
import { until } from "../testing/temporary.ts";
import { cacheDirectory } from "./layer-files.ts";
import type { LazyNodeLayers } from "./node-layers.ts";

const skip = mountObstacle();
const PATIENCE_MS = 30_000;

/** Makes an image's layers ready; their numbers. */
async function prepared(layers: LazyNodeLayers, { requests }: PushedImage): Promise<number[]> {
  const numbers: number[] = [];
  for (const request of requests) {
    const outcome = await layers.prepareLayer(request);
    assert.equal(outcome.kind, "lazy", JSON.stringify(outcome.story));
    if (outcome.kind === "lazy") numbers.push(outcome.layer);
  }
  return numbers;
}

/** The files of a tree with the sums of their bytes, which are read from the disk: their pages are dropped before. */
async function sumsIn(directory: string): Promise<ReadonlyMap<string, string>> {
  const sums = new Map<string, string>();
  const entries = await readdir(directory, { recursive: true, withFileTypes: true });
  for (const entry of entries) {
    if (!entry.isFile()) continue;
    const path = join(entry.parentPath, entry.name);
    await using file = await open(path, "r");
    await dropFilePages(file.fd);
    sums.set(path.slice(directory.length), sumOf(await file.readFile()));
  }
  return sums;
}

describe("layers that are whole", { skip }, () => {
  let images: TestImages;
  before(async () => {
    images = await TestImages.open();
  });
  after(async () => {
    await images[Symbol.asyncDispose]();
  });

  for (const door of ["erofs", "loop"] as const) {
    it(`are mounted from their files, and need no process: door ${door}`, async () => {
      await using node = await TestNode.open();
      const image = await images.push(await threeLayers(door === "erofs" ? 11 : 12));
      // Without an index they are read whole, and are what the config says at once.
      const first = await node.layers(door, { local: "off" });
      const numbers = await prepared(first, image);
      const served = await first.mountLayers(numbers);
      assert.deepEqual(
        served,
        numbers.map((layer) => join(node.paths.mounts, String(layer))),
      );
      const truth = await Promise.all(served.map(sumsIn));
      const trees = await Promise.all(served.map(scanTree));
      assert.equal(truth[0]?.size, 4);
      assert.equal(truth[1]?.get("/hard"), truth[0]?.get("/big"));
      first.retain(new Set(numbers));
      await first[Symbol.asyncDispose]();
      const layers = await node.layers(door);
      const local = await layers.mountLayers(numbers);
      assert.deepEqual(
        local,
        served.map((directory) => `${directory}w`),
      );
      assert.ok(layers.mountPoints.filter(({ isLocal }) => isLocal).length === numbers.length);
      const messages = (await layers.serverStats())?.fuseMessages;
      assert.ok(messages !== undefined);
      for (const [at, directory] of local.entries()) {
        assert.deepEqual(await sumsIn(directory), truth[at]);
        assert.deepEqual(await scanTree(directory), trees[at]);
      }
      assert.equal((await layers.serverStats())?.fuseMessages, messages);
      // The middle layer shows a file of the bottom one.
      const [bottom, middle] = numbers.map(String);
      const names = readdirSync(join(node.paths.heldFiles, middle ?? ""));
      assert.deepEqual(names.sort(), [bottom, middle].sort());

      layers.retain(new Set(numbers));
      const target = await node.target("mnt");
      const data = `lowerdir=${[...local].reverse().join(":")}`;
      await mount({ source: "test", target, type: "overlay", flags: ["ro"], data });
      try {
        await layers[Symbol.asyncDispose]();
        for (const pid of nodeProcesses(node.root)) process.kill(pid, "SIGKILL");
        await until("all are dead", () => nodeProcesses(node.root).length === 0);
        const merged = await sumsIn(target);
        assert.equal(merged.get("/hard"), truth[0]?.get("/big"));
        assert.equal(merged.get("/many/99"), truth[2]?.get("/many/99"));

        const next = await node.layers(door, { idleReleaseMs: 100 });
        assert.deepEqual(await next.mountLayers(numbers), local);
        next.referencedBy(() => new Set(numbers));
        next.retain(new Set());
        await until(
          "idle mounts go",
          async () => {
            await next.removeLayers([]);
            return next.mountPoints.length === 0;
          },
          PATIENCE_MS,
        );
        const held = readdirSync(node.paths.heldFiles);
        assert.equal(held.length, numbers.length, "the overlay has the files still");
        assert.equal((await sumsIn(target)).get("/hard"), truth[0]?.get("/big"));
        await unmount(target);
        await until(
          "their second names go",
          async () => {
            await next.removeLayers([]);
            return readdirSync(node.paths.heldFiles).length === 0;
          },
          PATIENCE_MS,
        );
        await next[Symbol.asyncDispose]();
      } finally {
        await unmount(target).catch(() => {}); // unmounted already, if all went well
      }
      await node.isClean();
    });
  }

  it("are mounted through FUSE if a file was changed since, or that is asked for", async () => {
    await using node = await TestNode.open();
    const image = await images.push(await threeLayers(13));
    const layers = await node.layers("erofs");
    const numbers = await prepared(layers, image);
    const [bottom] = image.requests;
    assert.ok(bottom !== undefined);
    const path = join(cacheDirectory(node.paths, bottom.layerDigest), "whole", "data");
    await writeFile(path, await readFile(path));
    const kinds = (await layers.mountLayers(numbers)).map((it) => it.endsWith("w"));
    assert.deepEqual(
      kinds,
      [false, false, true],
      "the middle layer shows a file of the bottom one",
    );
    layers.retain(new Set());
    await layers.removeLayers(numbers);
    await layers[Symbol.asyncDispose]();
    const off = await node.layers("erofs", { local: "off" });
    const [top = 0] = numbers.slice(-1);
    assert.deepEqual(await off.mountLayers([top]), [join(node.paths.mounts, String(top))]);
    off.referencedBy(() => new Set());
    off.retain(new Set());
    await off.removeLayers(numbers);
    await off[Symbol.asyncDispose]();
    await node.isClean();
  });
});
