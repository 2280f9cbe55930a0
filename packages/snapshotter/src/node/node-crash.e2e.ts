import assert from "node:assert/strict";
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { describe, it } from "node:test";
import { promisify } from "node:util";
import { DisposeStack, delay } from "@soci-ts/core";
import { readMountTable } from "@soci-ts/linux";
import { seededBytes, startSlowLink } from "@soci-ts/testkit";
import type { Door } from "../mount-record.ts";
import { mountObstacle } from "../testing/fixture.ts";
import { type PushedImage, TestImages, TestNode } from "../testing/node-fixture.ts";
import { fileLayer, sumOf } from "../testing/node-images.ts";
import { nodeCommand, nodeProcesses } from "../testing/node-processes.ts";
import { until } from "../testing/temporary.ts";

const run = promisify(execFile);
const skip = mountObstacle();

const FILES = Array.from({ length: 6 }, (_, at) => seededBytes(1_000_000, at + 1));

interface Bench extends AsyncDisposable {
  readonly node: TestNode;
  /** One layer with a file for each of {@link FILES}; its registry is some way off, so reads take time. */
  readonly image: PushedImage;
}

async function openBench(): Promise<Bench> {
  await using undo = new DisposeStack();
  const images = undo.use(await TestImages.open());
  const link = { rttMs: 20, megabitPerSecond: 100 };
  const { host } = undo.use(await startSlowLink(images.registry.host, link));
  const files = Object.fromEntries(FILES.map((bytes, at) => [String(at), bytes]));
  const image = await images.push([await fileLayer("files", files)], { indexed: true, host });
  const node = undo.use(await TestNode.open());
  const stack = undo.move();
  return { node, image, [Symbol.asyncDispose]: () => stack[Symbol.asyncDispose]() };
}

/** Reads a file in another process. @returns its sum. */
async function sumAt(directory: string | undefined, file: number): Promise<string> {
  const path = join(directory ?? "", "files", String(file));
  const { stdout } = await run("sha256sum", [path], { timeout: 60_000 });
  return stdout.slice(0, 64);
}

/** Others mount and unmount at the same time. */
function mountsBelow(root: string): readonly string[] {
  const points = readMountTable().map(({ mountPoint }) => mountPoint);
  return points.filter((path) => path.startsWith(`${root}/`));
}

function fileSum(file: number): string {
  return sumOf(FILES[file] ?? new Uint8Array());
}

/** A daemon in a process of its own that has mounted an image's layers. */
async function startDaemon(
  { node, image }: Bench,
  door: Door,
): Promise<{ readonly child: ChildProcess; readonly directories: readonly string[] }> {
  const { argv, environment } = nodeCommand(
    "daemon",
    node.root,
    door,
    JSON.stringify(image.requests),
  );
  const [program, ...args] = argv;
  const child = spawn(program, args, { env: environment, stdio: ["ignore", "pipe", "inherit"] });
  const [line] = await once(createInterface({ input: child.stdout }), "line");
  const { directories } = JSON.parse(String(line)) as { readonly directories: readonly string[] };
  return { child, directories };
}

describe("a node whose processes are killed", { skip }, () => {
  it("goes on reading when the layer server is killed, five times", async () => {
    await using bench = await openBench();
    const { node, image } = bench;
    const layers = await node.layers("erofs");
    const [request] = image.requests;
    assert.ok(request !== undefined);
    const outcome = await layers.prepareLayer(request);
    assert.ok(outcome.kind === "lazy", JSON.stringify(outcome.story));
    const [directory] = await layers.mountLayers([outcome.layer]);
    const servers = new Set<number>();
    for (let file = 0; file < 5; file += 1) {
      await until("a server runs", async () => (await layers.serverStats()) !== undefined);
      const [server = 0] = nodeProcesses(node.root, "serve-layers");
      servers.add(server);
      const before = (await layers.serverStats())?.fuseMessages ?? 0;
      let isDone = false;
      const reads = Promise.all([sumAt(directory, file), sumAt(directory, file)]);
      void reads.then(
        () => {
          isDone = true;
        },
        () => {}, // awaited below
      );
      await until("it is being read", async () => {
        return ((await layers.serverStats())?.fuseMessages ?? 0) > before + 2;
      });
      assert.equal(isDone, false, "the server is killed while something reads");
      process.kill(server, "SIGKILL");
      assert.deepEqual(await reads, [fileSum(file), fileSum(file)]);
    }
    assert.equal(servers.size, 5);
    assert.equal((await layers.serverStats())?.restarts, 5);
    const stats = await layers.layerStats([outcome.layer]);
    assert.equal(stats.get(outcome.layer)?.lastError, undefined);
  });

  it("keeps what is mounted when the daemon is killed, and the next one takes it over", async () => {
    await using bench = await openBench();
    const { node, image } = bench;
    const { child, directories } = await startDaemon(bench, "erofs");
    const [directory] = directories;
    assert.equal(await sumAt(directory, 0), fileSum(0));
    const reading = sumAt(directory, 1);
    await delay(30);
    child.kill("SIGKILL");
    await once(child, "exit");
    assert.equal(await reading, fileSum(1));
    const isLeft = (): boolean => nodeProcesses(node.root).length === 2;
    await until("workers and helpers are gone, keeper and server are not", isLeft);
    assert.equal(await sumAt(directory, 2), fileSum(2));
    const mounts = mountsBelow(node.root);
    assert.ok(mounts.length > 0);
    const layers = await node.layers("erofs", { local: "off" });
    const numbers: number[] = [];
    for (const request of image.requests) {
      const outcome = await layers.prepareLayer(request);
      if (outcome.kind === "lazy") numbers.push(outcome.layer);
    }
    assert.deepEqual(layers.mounted, numbers);
    assert.deepEqual(await layers.mountLayers(numbers), directories);
    assert.deepEqual(mountsBelow(node.root), mounts);
    assert.equal(await sumAt(directory, 3), fileSum(3));
    layers.retain(new Set());
    await layers[Symbol.asyncDispose]();
    await node.isClean();
  });

  it("starts keeper and server again when both were killed, and mounts what is gone", async () => {
    await using bench = await openBench();
    const { node, image } = bench;
    const layers = await node.layers("erofs");
    const [request] = image.requests;
    assert.ok(request !== undefined);
    const outcome = await layers.prepareLayer(request);
    assert.ok(outcome.kind === "lazy", JSON.stringify(outcome.story));
    const [directory] = await layers.mountLayers([outcome.layer]);
    for (const role of ["keeper", "serve-layers"] as const) {
      for (const pid of nodeProcesses(node.root, role)) process.kill(pid, "SIGKILL");
    }
    await assert.rejects(sumAt(directory, 0), "its connection is gone");
    await layers.removeLayers([]);
    assert.deepEqual(await layers.mountLayers([outcome.layer]), [directory]);
    assert.equal(await sumAt(directory, 0), fileSum(0));
  });
});
