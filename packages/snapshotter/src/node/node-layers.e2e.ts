import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { mkdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { mount, unmount } from "@soci-ts/linux";
import {
  buildTar,
  compareTrees,
  gzipLayer,
  hasProgram,
  scanTree,
  umociUnpack,
} from "@soci-ts/testkit";
import type { LayerOutcome, LayerRequest } from "../contract/types.ts";
import type { Door } from "../mount-record.ts";
import { mountObstacle } from "../testing/fixture.ts";
import { type PushedImage, TestImages, TestNode } from "../testing/node-fixture.ts";
import { brokenLayer, fileLayer, threeLayers } from "../testing/node-images.ts";
import { nodeProcesses } from "../testing/node-processes.ts";
import { until } from "../testing/temporary.ts";
import type { LazyNodeLayers } from "./node-layers.ts";

const DOORS: readonly Door[] = ["erofs", "loop", "fuse"];
const skip = mountObstacle();
const withUmoci = { skip: hasProgram("umoci") ? false : "umoci is not installed" };

/** Asks for an image's layers as containerd does, one after the other. */
async function prepareAll(
  layers: LazyNodeLayers,
  { requests }: PushedImage,
): Promise<readonly LayerOutcome[]> {
  const outcomes: LayerOutcome[] = [];
  for (const request of requests) outcomes.push(await layers.prepareLayer(request));
  return outcomes;
}

function numbersOf(outcomes: readonly LayerOutcome[]): readonly number[] {
  return outcomes.map((outcome) => {
    assert.equal(outcome.kind, "lazy", JSON.stringify(outcome.story));
    return outcome.kind === "lazy" ? outcome.layer : 0;
  });
}

/** What was tried for a layer, and whether it worked: `index+`, `stream-`. */
function stepsOf({ story }: LayerOutcome): readonly string[] {
  return story.steps.map(({ tried, worked }) => `${tried}${worked ? "+" : "-"}`);
}

/** Runs `work` with the layers' directories under one overlay, read-only, as a container has them. */
async function overlaid(
  node: TestNode,
  directories: readonly string[],
  work: (target: string) => Promise<void>,
): Promise<void> {
  const target = await node.target("mnt");
  const data = `lowerdir=${[...new Set([...directories].reverse())].join(":")}`;
  await mount({ source: "test", target, type: "overlay", flags: ["ro"], data });
  try {
    await work(target);
  } finally {
    await unmount(target);
  }
}

describe("openNodeLayers()", { skip }, () => {
  let images: TestImages;
  before(async () => {
    images = await TestImages.open();
  });
  after(async () => {
    await images[Symbol.asyncDispose]();
  });

  for (const door of DOORS) {
    it(`shows the tree that umoci unpacks, through the door ${door}`, withUmoci, async () => {
      await using node = await TestNode.open();
      const image = await images.push(await threeLayers(), { indexed: door !== "loop" });
      const layers = await node.layers(door);
      const outcomes = await prepareAll(layers, image);
      const how = door === "loop" ? ["index-", "stream+"] : ["index+"];
      for (const outcome of outcomes) assert.deepEqual(stepsOf(outcome), how);
      const numbers = numbersOf(outcomes);
      const directories = await layers.mountLayers(numbers);
      assert.deepEqual(await layers.mountLayers(numbers), directories);
      assert.deepEqual([...layers.mounted].sort(), [...numbers].sort());
      const unpacked = await scanTree(await umociUnpack(image.layout, await node.target("umoci")));
      await overlaid(node, directories, async (target) => {
        assert.deepEqual(compareTrees(await scanTree(target), unpacked), []);
      });
      const usage = await layers.layerUsage(numbers[0] ?? 0);
      assert.ok(usage.sizeBytes > 300_000 && usage.inodes > 3, JSON.stringify(usage));
      layers.retain(new Set());
      await layers[Symbol.asyncDispose]();
      await node.isClean();
    });
  }

  it("goes on from what an earlier daemon left, and makes anew what is gone of it", async () => {
    await using node = await TestNode.open();
    const image = await images.push(await threeLayers(5), { indexed: true });
    const twice = await fileLayer("a", { one: Buffer.from("1") });
    const doubled = await images.push([twice, await fileLayer("b", {}), twice]);
    const first = await node.layers("erofs");
    const numbers = numbersOf(await prepareAll(first, image));
    const [bottom = 0, other = 0, top = 0] = numbersOf(await prepareAll(first, doubled));
    assert.equal(bottom, top, "a layer that stands in the chain twice has one number");
    const directories = await first.mountLayers([bottom, other, top]);
    await overlaid(node, directories, async (target) => {
      assert.deepEqual(await namesAt(target), ["", "a", "a/one", "b"]);
    });
    first.retain(new Set([bottom, other]));
    await first[Symbol.asyncDispose]();
    const left = (): readonly number[] => nodeProcesses(node.root);
    await until("keeper and server are left", () => left().length === 2);
    assert.equal(nodeProcesses(node.root, "keeper").length, 1);
    assert.deepEqual(await namesAt(directories[0]), ["", "a", "a/one"]);
    const pids = left();

    await rm(join(node.paths.slots, String(numbers[0]), "index"));
    await rm(join(node.paths.slots, String(numbers[1])), { recursive: true });
    const second = await node.layers("erofs");
    assert.deepEqual(
      left().filter((pid) => pids.includes(pid)),
      pids,
    );
    assert.deepEqual([...second.mounted].sort(), [bottom, other].sort());
    assert.deepEqual(await second.mountLayers([bottom, other, top]), directories);
    assert.deepEqual(numbersOf(await prepareAll(second, image)), numbers);
    const [anew] = await second.mountLayers(numbers);
    assert.ok((await namesAt(anew)).includes("big"));
    second.retain(new Set());
    await second[Symbol.asyncDispose]();
    await node.isClean();
  });

  it("frees mounts, slots and caches of layers that no snapshot has", async () => {
    await using node = await TestNode.open();
    const image = await images.push(await threeLayers(7), { indexed: true });
    const other = await images.push([await fileLayer("kept", { one: Buffer.from("1") })]);
    const layers = await node.layers("erofs");
    const numbers = numbersOf(await prepareAll(layers, image));
    const [kept = 0] = numbersOf(await prepareAll(layers, other));
    const directories = await layers.mountLayers([...numbers, kept]);
    for (const directory of directories) await scanTree(directory);
    await mkdir(join(node.paths.slots, "999"));
    await until("the jobs end", () => layers.runningJobs === 0);
    await layers.removeLayers(numbers);
    assert.equal(readdirSync(node.paths.slots).length, numbers.length + 2, "it knows no snapshots");
    layers.referencedBy(() => new Set([kept]));
    layers.retain(new Set([kept]));
    await layers.removeLayers(numbers);
    assert.deepEqual(layers.mounted, [kept]);
    assert.deepEqual(readdirSync(node.paths.slots), [String(kept)]);
    assert.deepEqual(readdirSync(node.paths.mounts), [`${kept}w`], "it was read whole");
    assert.equal(readdirSync(node.paths.layers).length, 1);
    assert.equal(readdirSync(join(node.paths.store, "images", "v1")).length, 1);
    assert.deepEqual(await layers.layerUsage(numbers[0] ?? 0), { sizeBytes: 0, inodes: 0 });
    const again = numbersOf(await prepareAll(layers, image));
    assert.ok(Math.min(...again) > Math.max(...numbers, kept), "numbers are never used again");
    const [bottom = 0, middle = 0] = again;
    layers.referencedBy(() => new Set([kept, middle]));
    await until("the job ends", () => layers.runningJobs === 0);
    await layers.removeLayers([]);
    assert.equal(readdirSync(node.paths.slots).length, 4, "they were promised a moment ago");
    await layers.removeLayers(again);
    const left = readdirSync(node.paths.slots).map(Number);
    assert.deepEqual(
      left.sort(),
      [kept, bottom, middle].sort(),
      "a file of one is a link to the other's",
    );
  });
});

describe("prepareLayer() of a node", { skip }, () => {
  let images: TestImages;
  let node: TestNode;
  let layers: LazyNodeLayers;
  before(async () => {
    images = await TestImages.open();
    node = await TestNode.open();
    layers = await node.layers("fuse");
  });
  after(async () => {
    await node[Symbol.asyncDispose]();
    await images[Symbol.asyncDispose]();
  });

  it("tells how each layer came to be, and where its index was", async () => {
    const image = await images.push(await threeLayers(2), { indexed: true });
    const [outcome] = await prepareAll(layers, image);
    assert.equal(outcome?.story.imageReference, image.reference);
    assert.equal(outcome?.story.layerDigest, image.requests[0]?.layerDigest);
    assert.equal(outcome?.story.indexOrigin, "referrers");
    assert.match(outcome?.story.indexDigest ?? "", /^sha256:/);
  });

  it("leaves a broken layer to containerd, and those only that depend on it", async () => {
    const image = await images.push([
      await fileLayer("a", { one: Buffer.from("1") }),
      brokenLayer(),
      gzipLayer(await buildTar([{ name: "b/three", content: "its directories are below" }])),
      await fileLayer("b", { two: Buffer.from("2") }),
    ]);
    const [bottom, broken, dependent, top] = await prepareAll(layers, image);
    assert.equal(broken?.kind, "pull");
    assert.deepEqual(broken && stepsOf(broken), ["index-", "stream-", "pull+"]);
    assert.equal(dependent?.kind, "pull", "what its directories look like is not known");
    const lazy = [bottom, top].flatMap((it) => it ?? []);
    const [first, second] = await layers.mountLayers(numbersOf(lazy));
    assert.deepEqual(await namesAt(first), ["", "a", "a/one"]);
    assert.deepEqual(await namesAt(second), ["", "b", "b/two"]);
  });

  it("says why nothing is known of an image", async () => {
    const { requests } = await images.push(await threeLayers(3), { host: "127.0.0.1:1" });
    for (const request of requests) {
      const outcome = await layers.prepareLayer(request);
      assert.equal(outcome.kind, "pull");
      assert.deepEqual(stepsOf(outcome), ["index-", "pull+"]);
    }
    const [request] = requests as [LayerRequest];
    const strange = await layers.prepareLayer({ ...request, imageReference: "NO REFERENCE" });
    assert.equal(strange.kind, "pull");
    const signal = AbortSignal.abort(new Error("enough"));
    const another = { ...request, imageReference: "127.0.0.1:1/other:v1" };
    await assert.rejects(layers.prepareLayer(another, { signal }), /enough/);
  });

  it("gives two images at once that share layers the same numbers", async () => {
    const shared = await threeLayers(4);
    const [one, two] = [await images.push(shared), await images.push(shared)];
    const outcomes = await Promise.all([prepareAll(layers, one), prepareAll(layers, two)]);
    const [first = [], second = []] = outcomes.map(numbersOf);
    assert.deepEqual(first, second);
    assert.deepEqual(await layers.mountLayers(first), await layers.mountLayers(second));
  });
});

async function namesAt(directory: string | undefined): Promise<readonly string[]> {
  return (await scanTree(directory ?? "")).map(({ path }) => path).sort();
}
