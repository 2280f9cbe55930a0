import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { promisify } from "node:util";
import { type Digest, DisposeStack, sha256 } from "@soci-ts/core";
import { decodeZtoc, encodeZtoc } from "@soci-ts/layer-index";
import { readWholeVerdict } from "@soci-ts/lazy-layer";
import { type FaultProxy, seededBytes, startFaultProxy } from "@soci-ts/testkit";
import { mountObstacle } from "../testing/fixture.ts";
import { TestImages, TestNode } from "../testing/node-fixture.ts";
import { fileLayer, sumOf } from "../testing/node-images.ts";
import { nodeProcesses } from "../testing/node-processes.ts";
import { writeServerSettings } from "../testing/server-settings.ts";
import { until } from "../testing/temporary.ts";
import type { LazyNodeLayers } from "./node-layers.ts";

const run = promisify(execFile);
const skip = mountObstacle();

/** The thread that hashes takes only what others leave of the processor. */
const PATIENCE_MS = 60_000;

const FILES = Array.from({ length: 6 }, (_, at) => seededBytes(1_000_000, at + 1));

interface Bench extends AsyncDisposable {
  readonly node: TestNode;
  readonly layers: LazyNodeLayers;
  readonly proxy: FaultProxy;
  /** The layer's number. */
  readonly layer: number;
  readonly diffId: Digest;
  readonly directory: string;
}

/** A file that the image's prefetch list names. */
const LISTED_FILE = 5;

/** A node that hydrates with so many bytes a second, and a layer with a file for each of {@link FILES}, mounted. */
async function openBench(bytesPerSecond: number, forge = (_: string): void => {}): Promise<Bench> {
  await using undo = new DisposeStack();
  const images = undo.use(await TestImages.open());
  const proxy = undo.use(await startFaultProxy(images.registry.host));
  const files = Object.fromEntries(FILES.map((bytes, at) => [String(at), bytes]));
  const built = await fileLayer("files", files);
  const prefetchFiles = [`/files/${LISTED_FILE}`];
  const image = await images.push([built], { indexed: true, host: proxy.host, prefetchFiles });
  const node = undo.use(await TestNode.open());
  await writeServerSettings(node.root, { hydrate: bytesPerSecond });
  const layers = await node.layers("erofs");
  const [request] = image.requests;
  assert.ok(request !== undefined);
  const outcome = await layers.prepareLayer(request);
  assert.ok(outcome.kind === "lazy", JSON.stringify(outcome.story));
  const { layer } = outcome;
  forge(join(node.paths.slots, String(layer)));
  const [directory = ""] = await layers.mountLayers([layer]);
  const stack = undo.move();
  const close = (): Promise<void> => stack[Symbol.asyncDispose]();
  const diffId = built.diffId as Digest;
  return { node, layers, proxy, layer, diffId, directory, [Symbol.asyncDispose]: close };
}

/** Reads a file in another process. @returns its sum. */
async function sumAt({ directory }: Bench, file: number): Promise<string> {
  const path = join(directory, "files", String(file));
  const { stdout } = await run("sha256sum", [path], { timeout: 60_000 });
  return stdout.slice(0, 64);
}

/** Nobody has read anything: what the list names is on the disk, with what its first and last span hold beside it, and no more. */
async function assertListedFileIsThere(bench: Bench): Promise<void> {
  const cached = async (): Promise<number> => (await statsOf(bench)).cachedBytes;
  const bytes = FILES[LISTED_FILE]?.length ?? 0;
  await until("the listed file is there", async () => (await cached()) >= bytes, PATIENCE_MS);
  assert.ok((await cached()) < 1.5 * bytes, `${await cached()} bytes`);
  assert.equal((await statsOf(bench)).bytesRead, 0);
  const { counters } = (await bench.layers.serverStats()) ?? {};
  assert.ok((counters?.["soci_layer_prefetched_bytes_total"] ?? 0) > 0);
}

function fileSum(file: number): string {
  return sumOf(FILES[file] ?? new Uint8Array());
}

async function statsOf({ layers, layer }: Bench): Promise<ReturnType<typeof statsIn>> {
  return statsIn(await layers.layerStats([layer]), layer);
}

function statsIn(all: Awaited<ReturnType<LazyNodeLayers["layerStats"]>>, layer: number) {
  const stats = all.get(layer);
  assert.ok(stats !== undefined);
  return stats;
}

/** Bytes that a request asks for. */
function lengthOf(range: string | undefined): number {
  const [, first, last] = /bytes=(\d+)-(\d+)/.exec(range ?? "") ?? [];
  return first === undefined ? 0 : Number(last) - Number(first);
}

/** The layer's one cache directory. */
function cacheFolder({ node }: Bench): string {
  const directory = node.paths.layers;
  const layer = join(directory, readdirSync(directory)[0] ?? "");
  return join(layer, readdirSync(layer)[0] ?? "");
}

describe("a node that hydrates", { skip }, () => {
  it("makes a layer whole that is read, though its server is killed, and needs no registry then", async () => {
    await using bench = await openBench(100_000_000);
    const { node, layers, proxy, diffId } = bench;
    await assertListedFileIsThere(bench);
    let longRequests = 0;
    // The hydrator's first request is cut in the middle, and never goes on.
    proxy.rule = ({ range }) => {
      if (lengthOf(range) < 1_000_000) return undefined;
      longRequests += 1;
      return longRequests === 1 ? { kind: "cut", afterBytes: 900_000 } : { kind: "hang" };
    };
    assert.equal(await sumAt(bench, 0), fileSum(0));
    await until("it is half-way", () => longRequests > 1, PATIENCE_MS);
    proxy.rule = undefined;
    const [server = 0] = nodeProcesses(node.root, "serve-layers");
    process.kill(server, "SIGKILL");
    const isRight = async () => (await statsOf(bench)).verdict === "right";
    await until("the layer is whole and right", isRight, PATIENCE_MS);
    const { isComplete, cachedBytes, sizeBytes, lastError } = await statsOf(bench);
    assert.deepEqual({ isComplete, lastError }, { isComplete: true, lastError: undefined });
    assert.ok(cachedBytes > sizeBytes - 512);
    const { counters } = (await layers.serverStats()) ?? {};
    assert.ok((counters?.["soci_layer_hydrated_bytes_total"] ?? 0) > 0);
    assert.equal(counters?.["soci_layer_hydrated_layers_total"], 1);
    proxy.rule = () => ({ kind: "status", status: 503 });
    const requests = proxy.requests.length;
    for (const file of FILES.keys()) assert.equal(await sumAt(bench, file), fileSum(file));
    assert.equal(proxy.requests.length, requests);
    assert.equal((await readWholeVerdict(cacheFolder(bench), diffId)).verdict, "right");
    layers.retain(new Set());
    await layers[Symbol.asyncDispose]();
    await node.isClean();
  });

  it("fails the reads of a layer whose index makes other bytes of an honest blob", async () => {
    await using bench = await openBench(100_000_000, forgeWindow);
    const { node, layers } = bench;
    assert.equal(await sumAt(bench, 0), fileSum(0), "what was not forged is right");
    const isWrong = async () => (await statsOf(bench)).verdict === "wrong";
    await until("it is judged", isWrong, PATIENCE_MS);
    assert.match(
      (await statsOf(bench)).lastError?.message ?? "",
      /not what the image's config says/,
    );
    const { counters } = (await layers.serverStats()) ?? {};
    assert.equal(counters?.["soci_layer_wrong_diff_ids_total"], 1);
    await assert.rejects(sumAt(bench, 5), /Input\/output error/);
    for (const pid of nodeProcesses(node.root, "serve-layers")) process.kill(pid, "SIGKILL");
    await assert.rejects(sumAt(bench, 4), /Input\/output error/);
    assert.equal((await statsOf(bench)).verdict, "wrong");
  });
});

/** Changes the window of a checkpoint in the middle of file 3, as whoever pushes an index can. */
function forgeWindow(slot: string): void {
  const indexPath = join(slot, "index");
  const index = decodeZtoc(readFileSync(indexPath));
  const at = index.checkpoints.findIndex(
    ({ uncompressedOffset }) => uncompressedOffset > 3_500_000,
  );
  const checkpoints = index.checkpoints.map((checkpoint, number) =>
    number === at ? { ...checkpoint, window: checkpoint.window.map((it) => 255 - it) } : checkpoint,
  );
  const forged = encodeZtoc({ ...index, checkpoints });
  rmSync(indexPath);
  writeFileSync(indexPath, forged);
  const slotPath = join(slot, "slot.json");
  const { record, ...rest } = JSON.parse(readFileSync(slotPath, "utf8"));
  const data = { ...record.data, indexDigest: sha256(forged) };
  writeFileSync(slotPath, JSON.stringify({ ...rest, record: { ...record, data } }));
}
