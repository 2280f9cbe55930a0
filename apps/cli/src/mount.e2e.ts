import assert from "node:assert/strict";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { describe, it } from "node:test";
import { DisposeStack } from "@soci-ts/core";
import { probeKernel } from "@soci-ts/linux";
import {
  command,
  pushLayout,
  seededRandom,
  startEmbeddedRegistry,
  startFaultProxy,
} from "@soci-ts/testkit";
import { documentOf, type RunResult, soci, temporaryDirectory } from "./testing/command-line.ts";
import { DATA_BYTES, sampleImage } from "./testing/images.ts";

const KILLS = 4;

const { sysAdmin, fuseDevice, overlay } = probeKernel();
const missing = [sysAdmin, fuseDevice, overlay].find(({ state }) => state === "missing");
const skip = missing === undefined ? false : missing.found;

/** A registry with the sample image, a store, and a directory to mount at, which is free of mounts when this is disposed. */
interface Bench extends AsyncDisposable {
  readonly image: string;
  readonly target: string;
  run(...args: readonly string[]): Promise<RunResult>;
  kill(afterMs: number, ...args: readonly string[]): Promise<RunResult>;
}

async function openBench(): Promise<Bench> {
  const stack = new DisposeStack();
  const folder = stack.use(await temporaryDirectory());
  const registry = stack.use(await startEmbeddedRegistry());
  const root = join(folder.path, "store");
  const target = join(folder.path, "mnt");
  await mkdir(target);
  await pushLayout(await sampleImage(folder.path), registry.host, "app", "v1");
  const run = (...args: readonly string[]): Promise<RunResult> =>
    soci(["--root", root, "--json", ...args]);
  stack.defer(async () => {
    await run("unmount", target);
  });
  return {
    image: `${registry.host}/app:v1`,
    target,
    run,
    kill: (afterMs, ...args) =>
      soci(["--root", root, "--json", ...args], { signal: { name: "SIGKILL", afterMs } }),
    [Symbol.asyncDispose]: () => stack[Symbol.asyncDispose](),
  };
}

/** Looks in from a process of its own, with a deadline. */
async function shell(script: string): Promise<string> {
  return (await command("sh", ["-c", script], { timeoutMs: 20_000 })).stdout;
}

async function assertTree(target: string): Promise<void> {
  assert.equal(await shell(`cat ${target}/etc/link`), "ID=changed\n");
  assert.equal(await shell(`cat ${target}/usr/share/last`), "the end\n");
  assert.equal((await shell(`wc -c < ${target}/usr/share/data`)).trim(), String(DATA_BYTES));
  await assert.rejects(shell(`touch ${target}/new`), /Read-only/);
}

describe("soci mount", { skip }, () => {
  for (const door of ["auto", "fuse"]) {
    it(`mounts an indexed image lazily, door ${door}, and unmounts it`, async () => {
      await using bench = await openBench();
      const { image, target } = bench;
      await bench.run("create", "--min-layer-size", "0", image);
      const mounted = documentOf(await bench.run("mount", image, target, "--door", door));
      assert.equal(mounted["lazyLayers"], 2);
      if (door === "fuse") assert.equal(mounted["door"], "fuse");
      await assertTree(target);
      const again = await bench.run("mount", image, target);
      assert.equal(again.exitCode, 5, again.stdout.toString());
      assert.equal((await bench.run("unmount", target)).exitCode, 0);
      assert.equal(await shell(`ls ${target}`), "");
      const twice = await bench.run("unmount", target);
      assert.equal(twice.exitCode, 3);
    });
  }

  it("mounts an image that has no index", async () => {
    await using bench = await openBench();
    const mounted = documentOf(await bench.run("mount", bench.image, bench.target));
    assert.equal(mounted["wholeLayers"], 2);
    assert.equal(mounted["index"], null);
    await assertTree(bench.target);
  });

  it("reads a layer whole whose ztoc comes damaged, and says so", async () => {
    await using bench = await openBench();
    const created = documentOf(
      await bench.run("create", "--push", "--min-layer-size", "0", bench.image),
    );
    const [layer] = created["layers"] as { ztoc: string }[];
    await bench.run("index", "rm", created["index"] as string);
    const [host, name] = bench.image.split("/");
    await using proxy = await startFaultProxy(host ?? "");
    proxy.rule = ({ path }) =>
      path.includes(layer?.ztoc ?? "") ? { kind: "flip", atByte: 200 } : undefined;
    const result = await bench.run("mount", `${proxy.host}/${name}`, bench.target);
    const mounted = documentOf(result);
    assert.deepEqual([mounted["lazyLayers"], mounted["wholeLayers"]], [1, 1]);
    assert.match(result.stderr, /layer is read whole/);
    await assertTree(bench.target);
    await bench.run("unmount", bench.target);
  });

  it("fetches what the index's prefetch list names before anybody reads it", async () => {
    await using bench = await openBench();
    const { target } = bench;
    const [host, name] = bench.image.split("/");
    await using proxy = await startFaultProxy(host ?? "");
    const image = `${proxy.host}/${name}`;
    const spans = ["--min-layer-size", "0", "--span-size", "65536"];
    await bench.run("create", ...spans, "--prefetch-file", "/usr/share/data", image);
    const mounted = documentOf(await bench.run("mount", image, target));
    const log = String(mounted["logPath"]);
    const hasFetched = `timeout 20 sh -c 'until grep "layer prefetched" ${log}; do sleep 0.1; done'`;
    const line = await shell(hasFetched);
    const [, bytes] = /"fetchedBytes":(\d+)/.exec(line) ?? [];
    assert.ok(Number(bytes) > DATA_BYTES / 2, line);
    proxy.rule = () => ({ kind: "status", status: 503 });
    assert.equal((await shell(`wc -c < ${target}/usr/share/data`)).trim(), String(DATA_BYTES));
    proxy.rule = undefined;
  });

  it("may be killed at any point: the next one just works", async () => {
    await using bench = await openBench();
    const { image, target } = bench;
    await bench.run("create", "--min-layer-size", "0", image);
    const start = performance.now();
    assert.equal((await bench.run("mount", image, target)).exitCode, 0);
    const tookMs = performance.now() - start;
    assert.equal((await bench.run("unmount", target)).exitCode, 0);
    const next = seededRandom(Date.now() % 100_000);
    for (let round = 0; round < KILLS; round += 1) {
      const afterMs = next() * tookMs;
      const { killedBy } = await bench.kill(afterMs, "mount", image, target);
      const mounted = killedBy === null ? undefined : await bench.run("mount", image, target);
      // Killed after all was done, the mount stands and is in the way of another.
      const accepted = mounted === undefined || [0, 5].includes(mounted.exitCode ?? -1);
      assert.ok(accepted, `after ${afterMs} ms: ${mounted?.stdout}`);
      await assertTree(target);
      const unmounted = await bench.run("unmount", target);
      assert.equal(unmounted.exitCode, 0, `after ${afterMs} ms: ${unmounted.stdout}`);
    }
  });
});
