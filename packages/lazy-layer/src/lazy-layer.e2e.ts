import assert from "node:assert/strict";
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { type TestContext, test } from "node:test";
import { fileURLToPath } from "node:url";
import { delay } from "@soci-ts/core";
import { openLazyLayer, streamLayer } from "./index.ts";
import { testLayer, VICTIM_LAYER } from "./testing/layers.ts";
import { MemoryBlob } from "./testing/memory-blob.ts";
import { layerOfTar, makeTar, VICTIM_TAR } from "./testing/tars.ts";

const VICTIM = fileURLToPath(new URL("./testing/victim.js", import.meta.url));

interface Victim {
  readonly child: ChildProcess;
  readonly output: string[];
}

function startVictim(t: TestContext, work: "read" | "stream", directory: string): Victim {
  const child = spawn(process.execPath, [VICTIM, work, directory], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  t.after(() => child.kill("SIGKILL"));
  const victim: Victim = { child, output: [] };
  for (const stream of [child.stdout, child.stderr]) {
    stream?.on("data", (piece: Buffer) => victim.output.push(piece.toString()));
  }
  return victim;
}

/** Lets two victims work on one directory for a while and kills both. */
async function killTwo(t: TestContext, work: "read" | "stream", directory: string): Promise<void> {
  const victims = [startVictim(t, work, directory), startVictim(t, work, directory)];
  while (victims.some(({ output, child }) => output.length === 0 && child.exitCode === null)) {
    await delay(5);
  }
  await delay(Math.random() * 150);
  for (const { child, output } of victims) {
    const ended = once(child, "close");
    child.kill("SIGKILL");
    await ended;
    assert.match(output.join(""), /^ready\n(done\n)*$/);
  }
}

function newDirectory(t: TestContext): string {
  const directory = mkdtempSync(join(tmpdir(), "soci-layer-"));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

test("a cache survives kill -9 of two readers at random points", async (t) => {
  const directory = newDirectory(t);
  const { blob: bytes, digest, index, truth } = testLayer(...VICTIM_LAYER);
  let kept = 0;
  for (let round = 0; round < 5; round += 1) {
    await killTwo(t, "read", directory);
    const blob = new MemoryBlob(bytes);
    await using layer = await openLazyLayer({ directory, layerDigest: digest, index, blob });
    assert.ok(layer.stats().cachedBytes >= kept, "what was present stays");
    kept = layer.stats().cachedBytes;
    // Reading all of it would complete the cache: the last round does.
    const end = round === 4 ? truth.length : 1_000_000;
    assert.ok(Buffer.from(await layer.readAt(0, end)).equals(truth.subarray(0, end)));
    if (kept === truth.length) assert.equal(blob.seen.length, 0);
  }
  assert.ok(kept > 0);
});

test("a layer is whole or absent after kill -9 of two streamers at random points", async (t) => {
  const tar = await makeTar(...VICTIM_TAR);
  const { blob: bytes, descriptor, diffId } = layerOfTar(tar, "gzip");
  let reused = 0;
  for (let round = 0; round < 5; round += 1) {
    const directory = newDirectory(t);
    await killTwo(t, "stream", directory);
    const source = new MemoryBlob(bytes);
    const open = (signal: AbortSignal): AsyncIterable<Uint8Array> =>
      source.stream(0, source.size, { signal });
    const { index, isReused } = await streamLayer({ directory, descriptor, diffId, open });
    reused += isReused ? 1 : 0;
    const blob = new MemoryBlob(bytes);
    await using layer = await openLazyLayer({
      directory,
      layerDigest: descriptor.digest,
      index,
      blob,
    });
    const read = await layer.readAt(0, layer.size);
    assert.ok(Buffer.from(read).equals(tar.subarray(0, layer.size)));
    assert.equal(blob.seen.length, 0);
  }
  t.diagnostic(`${reused} of 5 were whole`);
});

test("a full disk fails no read", { skip: mountRefusal() }, async (t) => {
  const directory = newDirectory(t);
  const mounted = spawnSync("mount", ["-t", "tmpfs", "-o", "size=2m", "soci-test", directory]);
  assert.equal(mounted.status, 0, String(mounted.stderr));
  const unmount = (): void => void spawnSync("umount", ["-l", directory]);
  t.after(unmount);
  try {
    const { blob: bytes, digest, index, truth } = testLayer(...VICTIM_LAYER);
    const blob = new MemoryBlob(bytes);
    await using layer = await openLazyLayer({ directory, layerDigest: digest, index, blob });
    for (let at = 0; at < truth.length; at += 100_000) {
      const part = await layer.readAt(at, Math.min(100_000, truth.length - at));
      assert.ok(Buffer.from(part).equals(truth.subarray(at, at + part.length)), `at ${at}`);
    }
    const { cacheErrors, cachedBytes, requests } = layer.stats();
    assert.ok(cacheErrors > 0);
    assert.ok(cachedBytes > 500_000 && cachedBytes < 2_200_000, `${cachedBytes} bytes cached`);
    assert.ok(requests <= index.spans.length, `${requests} requests`);
    const tar = await makeTar(...VICTIM_TAR);
    const gzip = layerOfTar(tar, "gzip");
    const source = new MemoryBlob(gzip.blob);
    const streamed = await streamLayer({
      ...gzip,
      directory,
      open: (signal) => source.stream(0, source.size, { signal }),
    });
    await using other = await openLazyLayer({
      directory,
      layerDigest: gzip.descriptor.digest,
      index: streamed.index,
      blob: new MemoryBlob(gzip.blob),
    });
    const read = await other.readAt(0, other.size);
    assert.ok(Buffer.from(read).equals(tar.subarray(0, other.size)));
    const zstd = layerOfTar(tar, "zstd");
    const open = (): AsyncIterable<Uint8Array> =>
      new MemoryBlob(zstd.blob).stream(0, zstd.blob.length);
    await assert.rejects(streamLayer({ ...zstd, directory, open }), { code: "resource_exhausted" });
  } finally {
    unmount();
  }
});

function mountRefusal(): string | false {
  return process.getuid?.() === 0 ? false : "mounting a tmpfs needs root";
}
