import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { promisify } from "node:util";
import { DisposeStack } from "@soci-ts/core";
import { ffiAvailable } from "@soci-ts/linux";
import { seededBytes, startSlowLink } from "@soci-ts/testkit";
import type { Door } from "../mount-record.ts";
import { mountObstacle } from "../testing/fixture.ts";
import { type PushedImage, TestImages, TestNode } from "../testing/node-fixture.ts";
import { fileLayer, sumOf } from "../testing/node-images.ts";
import { nodeProcesses } from "../testing/node-processes.ts";
import { type ServerSettings, writeServerSettings } from "../testing/server-settings.ts";
import { until } from "../testing/temporary.ts";
import type { LazyNodeLayers } from "./node-layers.ts";

const run = promisify(execFile);
const skip = mountObstacle();

const FILES = Array.from({ length: 6 }, (_, at) => seededBytes(400_000, at + 1));

/** A mounted layer with a file for each of {@link FILES}, whose registry is some way off, so reads take time. */
interface Bench extends AsyncDisposable {
  readonly node: TestNode;
  readonly images: TestImages;
  readonly layers: LazyNodeLayers;
  readonly directory: string;
}

async function openBench(door: Door, settings: ServerSettings): Promise<Bench> {
  await using undo = new DisposeStack();
  const images = undo.use(await TestImages.open());
  const link = { rttMs: 20, megabitPerSecond: 50 };
  const { host } = undo.use(await startSlowLink(images.registry.host, link));
  const files = Object.fromEntries(FILES.map((bytes, at) => [String(at), bytes]));
  const image = await images.push([await fileLayer("files", files)], { indexed: true, host });
  const node = undo.use(await TestNode.open());
  await writeServerSettings(node.root, settings);
  const layers = await node.layers(door);
  const directory = await mountOne(layers, image);
  const stack = undo.move();
  return {
    node,
    images,
    layers,
    directory,
    [Symbol.asyncDispose]: () => stack[Symbol.asyncDispose](),
  };
}

async function mountOne(layers: LazyNodeLayers, { requests }: PushedImage): Promise<string> {
  const [request] = requests;
  assert.ok(request !== undefined);
  const outcome = await layers.prepareLayer(request);
  assert.ok(outcome.kind === "lazy", JSON.stringify(outcome.story));
  const [directory = ""] = await layers.mountLayers([outcome.layer]);
  return directory;
}

/** Reads a file in another process. @returns its sum. */
async function sumAt(directory: string, file: number): Promise<string> {
  const path = join(directory, "files", String(file));
  const { stdout } = await run("sha256sum", [path], { timeout: 60_000 });
  return stdout.slice(0, 64);
}

function fileSum(file: number): string {
  return sumOf(FILES[file] ?? new Uint8Array());
}

async function serverOf({ layers, node }: Bench): Promise<{ pid: number; messages: number }> {
  let messages: number | undefined;
  await until("a server answers", async () => {
    messages = (await layers.serverStats())?.fuseMessages;
    return messages !== undefined;
  });
  const [pid = 0] = nodeProcesses(node.root, "serve-layers");
  return { pid, messages: messages ?? 0 };
}

/** Kills the server under two readers of each of the first `kills` files. @returns requests that came from the journal. */
async function killUnderReaders(bench: Bench, kills: number): Promise<number> {
  let replayed = 0;
  for (let file = 0; file < kills; file += 1) {
    const { pid, messages } = await serverOf(bench);
    const reads = Promise.all([sumAt(bench.directory, file), sumAt(bench.directory, file)]);
    void reads.catch(() => {}); // awaited below
    await until("it is being read", async () => {
      return ((await bench.layers.serverStats())?.fuseMessages ?? 0) > messages + 2;
    });
    process.kill(pid, "SIGKILL");
    assert.deepEqual(await reads, [fileSum(file), fileSum(file)]);
    await serverOf(bench);
    replayed += await countOf(bench, "soci_fuse_replayed_requests_total");
  }
  return replayed;
}

async function countOf({ layers }: Bench, name: string): Promise<number> {
  return (await layers.serverStats())?.counters[name] ?? 0;
}

function agreedFlags({ node }: Bench): string {
  return readFileSync(node.paths.fuseRecord, "utf8");
}

/** Messages that were received and not taken on, as they stand in the journal. */
function unreadMessages({ node }: Bench): number {
  const file = readFileSync(node.paths.journal);
  const lengths = Array.from({ length: 32 }, (_, at) => file.readUInt32LE(4096 + at * 16_384));
  return lengths.filter((length) => length > 0).length;
}

describe("a node whose layer server leaves requests in flight", { skip }, () => {
  for (const door of ["erofs", "fuse"] as const) {
    it(`serves them from the journal where the kernel sends nothing again: door ${door}`, async () => {
      await using bench = await openBench(door, { resend: "off" });
      assert.doesNotMatch(agreedFlags(bench), /RESEND/);
      assert.ok((await killUnderReaders(bench, 5)) > 0, "there was something to take over");
    });
  }

  it("has the kernel send them again where files can't be mapped", async () => {
    // Without either, one that is received and not yet written down would be lost.
    await using bench = await openBench("fuse", { ffi: "none" });
    await killUnderReaders(bench, 2);
  });

  it("serves what was received and not even looked at", {
    skip: !ffiAvailable() && "no FFI",
  }, async () => {
    await using bench = await openBench("fuse", { resend: "off" });
    const { pid } = await serverOf(bench);
    process.kill(pid, "SIGUSR2");
    const reads = Promise.all([sumAt(bench.directory, 0), sumAt(bench.directory, 1)]);
    void reads.catch(() => {}); // awaited below
    await until("both have requests that are received", () => unreadMessages(bench) >= 2);
    process.kill(pid, "SIGKILL");
    assert.deepEqual(await reads, [fileSum(0), fileSum(1)]);
  });
});

describe("a node whose layer server crashes over a request", { skip }, () => {
  for (const resend of ["auto", "off"] as const) {
    it(`answers that one with EIO, and the others: RESEND ${resend}`, async () => {
      await using undo = new DisposeStack();
      const images = undo.use(await TestImages.open());
      const poison = await images.push([await fileLayer("files", { 0: seededBytes(70_000, 9) })], {
        indexed: true,
      });
      const repository = poison.reference.slice(0, poison.reference.lastIndexOf(":"));
      const bench = undo.use(await openBench("fuse", { resend, poison: repository }));
      const { layers, directory } = bench;
      const poisoned = await mountOne(layers, poison);
      // Directly, since the kernel would ask again for a page that it could not read ahead.
      const path = join(poisoned, "files", "0");
      const args = [`if=${path}`, "iflag=direct", "bs=4096", "count=1", "of=/dev/null"];
      const guilty = run("dd", args, { timeout: 60_000, env: { LC_ALL: "C" } });
      const innocent = FILES.map((_, file) => sumAt(directory, file));
      await assert.rejects(guilty, /Input\/output error/);
      assert.deepEqual(
        await Promise.all(innocent),
        FILES.map((_, file) => fileSum(file)),
      );
      assert.equal(await countOf(bench, "soci_fuse_poison_requests_total"), 1);
      // One more for each time that a slow machine had not answered a suspect while it was alone.
      const restarts = (await layers.serverStats())?.restarts ?? 0;
      assert.ok(restarts >= 3 && restarts <= 6, `${restarts} restarts`);
    });
  }
});
