import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { readdirSync, readFileSync, truncateSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { promisify } from "node:util";
import { gunzipSync } from "node:zlib";
import { AppError, DisposeStack, silentLogger, silentMetrics } from "@soci-ts/core";
import { parseReference } from "@soci-ts/oci";
import { RegistryClient } from "@soci-ts/registry-client";
import { registryImageSource } from "@soci-ts/soci";
import { openStore } from "@soci-ts/store";
import { type BuiltLayerBlob, seededBytes, seededRandom } from "@soci-ts/testkit";
import { openMetastore } from "../contract/metastore-schema.ts";
import { openSnapshots } from "../contract/snapshots.ts";
import { openRoot } from "../open-root.ts";
import { FakeIdMappedMounts, FakeLayers } from "../testing/fake-layers.ts";
import { mountObstacle } from "../testing/fixture.ts";
import { type PushedImage, TestImages, TestNode } from "../testing/node-fixture.ts";
import { fileLayer, sumOf, threeLayers } from "../testing/node-images.ts";
import { temporary } from "../testing/temporary.ts";
import { RootCopies, TEARS } from "../testing/torn-root.ts";
import { DiskSlots } from "./disk-slots.ts";
import { LayerTable } from "./layer-table.ts";
import type { LazyNodeLayers } from "./node-layers.ts";
import { PlacedLayers } from "./placed-layers.ts";
import { slotDirectory } from "./slot-files.ts";

const run = promisify(execFile);
const skip = mountObstacle();
const FILE = seededBytes(200_000, 3);
/** How many trials damage two files. */
const PAIRS = 20;

interface Bench {
  readonly node: TestNode;
  readonly copies: RootCopies;
  /** Numbers of the layers, and the bytes that they have. */
  readonly layers: ReadonlyMap<number, Uint8Array>;
  readonly images: readonly PushedImage[];
}

async function prepareAll(layers: LazyNodeLayers, image: PushedImage): Promise<readonly number[]> {
  const numbers: number[] = [];
  for (const request of image.requests) {
    const outcome = await layers.prepareLayer(request);
    assert.ok(outcome.kind === "lazy", JSON.stringify(outcome.story));
    numbers.push(outcome.layer);
  }
  return numbers;
}

/** A root with layers that are read in part, whole and not at all, and snapshots of all kinds; copied before and after, while it is in use. */
async function openBench(stack: DisposeStack): Promise<Bench> {
  const images = stack.use(await TestImages.open());
  const node = stack.use(await TestNode.open());
  const scratch = stack.use(await temporary());
  const copies = new RootCopies(node.root, scratch.path);
  const blobs: (readonly BuiltLayerBlob[])[] = [
    await threeLayers(8),
    [await fileLayer("files", { one: FILE, two: FILE.subarray(0, 50_000) })],
  ];
  const layers = await node.layers("erofs");
  await openRoot(node.root);
  await using database = disposable(openMetastore(node.root));
  const numbers = new Map<number, Uint8Array>();
  const pushed: PushedImage[] = [];
  for (const [at, built] of blobs.entries()) {
    const image = await images.push(built, { indexed: at === 0 });
    pushed.push(image);
    for (const [position, layer] of (await prepareAll(layers, image)).entries())
      numbers.set(layer, gunzipSync(built[position]?.blob ?? new Uint8Array()));
    if (at === 0) copies.take();
  }
  const [bottom = ""] = await layers.mountLayers([...numbers.keys()]);
  await run("head", ["-c", "70000", join(bottom, "big")], { encoding: "buffer" });
  await using snapshots = await openTestSnapshots(node.root, database.value);
  await snapshots.prepare("draft", "", {});
  await snapshots.commit("base", "draft", {});
  await snapshots.prepare("container", "base", {});
  copies.take();
  layers.retain(new Set());
  await layers[Symbol.asyncDispose]();
  return { node, copies, layers: numbers, images: pushed };
}

type Metastore = ReturnType<typeof openMetastore>;

function disposable(value: Metastore): AsyncDisposable & { readonly value: Metastore } {
  return { value, [Symbol.asyncDispose]: async () => value.close() };
}

function openTestSnapshots(root: string, database: Metastore): ReturnType<typeof openSnapshots> {
  return openSnapshots({
    root,
    database,
    layers: new FakeLayers(join(root, "fake")),
    idMapped: new FakeIdMappedMounts(),
    userxattr: false,
    xino: false,
    logger: silentLogger,
  });
}

/** What the daemon does at its start, and then every byte of every layer; fails if one is wrong, or an error has no type. */
async function startAndRead({ node, layers }: Bench, client: RegistryClient): Promise<number> {
  const { root, paths } = node;
  await openRoot(root);
  await using _store = await openStore(paths.store, { replaceDamaged: true });
  await using database = disposable(openMetastore(root));
  await using _snapshots = await openTestSnapshots(root, database.value);
  using placed = new PlacedLayers({ paths, policyOf: () => "any", logger: silentLogger });
  await using slots = new DiskSlots({
    paths,
    openBlobs: async (source) =>
      registryImageSource(client, parseReference((source as { readonly image: string }).image)),
    logger: silentLogger,
    metrics: silentMetrics,
    readTimeoutMs: 10_000,
  });
  let damaged = 0;
  for (const [layer, bytes] of layers) {
    try {
      const slot = await slots.get(layer);
      assert.ok(slot !== undefined);
      assert.ok(Buffer.from(await slot.data.readAt(0, bytes.length)).equals(bytes), "wrong bytes");
    } catch (error) {
      assert.ok(error instanceof AppError && error.code === "data_loss", String(error));
      assert.equal(await placed.isSound(layer), false, "what can't be opened is made again");
      damaged += 1;
    }
  }
  return damaged;
}

describe("a root after a power cut", { skip, timeout: 180_000 }, () => {
  const stack = new DisposeStack();
  let bench: Bench;
  let client: RegistryClient;
  before(async () => {
    client = stack.use(new RegistryClient({ plainHttp: true }));
    bench = await openBench(stack);
  });
  after(async () => {
    await stack[Symbol.asyncDispose]();
  });

  it("is started on, and no wrong byte is read, whichever files are torn", async () => {
    const { copies } = bench;
    const random = seededRandom(2026);
    const pick = <T>(values: readonly T[]): T => values[Math.floor(random() * values.length)] as T;
    const files = copies.files();
    assert.ok(files.includes("metadata.db-wal") && files.includes("layers.db-wal"), String(files));
    const trials = files.map((file) => [file]);
    for (let count = 0; count < PAIRS; count += 1) trials.push([pick(files), pick(files)]);
    let damaged = 0;
    for (const torn of trials) {
      copies.restore();
      const story: string[] = [];
      for (const file of new Set(torn)) {
        const tear = pick(TEARS);
        const fraction = random();
        copies.tear(file, tear, fraction);
        story.push(`${file}: ${tear} (${fraction})`);
      }
      damaged += await startAndRead(bench, client).catch((error: unknown) => {
        throw new Error(story.join(", "), { cause: error });
      });
    }
    assert.ok(damaged > 0, "some were torn beyond use");
  });

  it("has layers made again under their numbers, as soon as somebody needs them", async () => {
    const { copies, node, layers: numbers } = bench;
    copies.restore();
    const [first = 0, second = 0] = numbers.keys();
    const last = [...numbers.keys()].at(-1) ?? 0;
    for (const [layer, file] of [
      [first, "slot.json"],
      [second, "index"],
    ] as const)
      truncateSync(join(slotDirectory(node.paths.slots, layer), file), 10);
    const images = join(node.paths.store, "images", "v1");
    for (const name of readdirSync(images)) truncateSync(join(images, name), 100);
    const layers = await node.layers("erofs");
    const directories = await layers.mountLayers([...numbers.keys()]);
    const sum = await run("sha256sum", [join(directories.at(-1) ?? "", "files", "one")]);
    assert.equal(sum.stdout.slice(0, 64), sumOf(FILE));
    assert.equal((await layers.layerStats([last])).get(last)?.lastError, undefined);
    const { stdout } = await run("cat", [join(directories[0] ?? "", "big")], {
      encoding: "buffer",
      maxBuffer: 2 ** 24,
    });
    assert.ok(Buffer.from(numbers.get(first) ?? "").includes(stdout));
    layers.retain(new Set());
    await layers[Symbol.asyncDispose]();
  });

  it("gives no new layer a number that a directory or a snapshot has, though its table is older", () => {
    const { copies, node, layers } = bench;
    copies.restore();
    for (const name of ["layers.db", "layers.db-wal", "layers.db-shm"])
      copies.tear(name, "lost", 0);
    assert.ok(readFileSync(node.paths.database).length === 0);
    const { paths } = node;
    using placed = new PlacedLayers({ paths, policyOf: () => "any", logger: silentLogger });
    using table = new LayerTable(paths.database);
    assert.ok(table.nextNumber() > Math.max(...layers.keys()));
    placed.skipNumbers(500);
    assert.equal(table.nextNumber(), 501);
  });
});
