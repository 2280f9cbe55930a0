import assert from "node:assert/strict";
import { linkSync, mkdtempSync, readFileSync, rmSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { crc32, gzipSync } from "node:zlib";
import { delay, sha256, silentLogger, silentMetrics } from "@soci-ts/core";
import { ChunkMap } from "./chunk-map.ts";
import { cacheIdentity } from "./identity.ts";
import { type LazyLayer, openLazyLayer, type PunchHole } from "./index.ts";
import { LayerCache } from "./layer-cache.ts";
import { gzipIndex, testLayer } from "./testing/layers.ts";
import { MemoryBlob } from "./testing/memory-blob.ts";

const SIZE = 900_000;
const LAYER = testLayer("gzip", SIZE, 100_000);
const SPANS = LAYER.index.spans.length;

/** As a hole reads, without one: works on any file system. */
const fillWithZeros: PunchHole = async (fd, start, end) => {
  writeSync(fd, Buffer.alloc(end - start), 0, end - start, start);
};

interface Bench {
  readonly directory: string;
  readonly blob: MemoryBlob;
  open(layer?: typeof LAYER): Promise<LazyLayer>;
  dataPath(): string;
}

function bench(t: TestContext): Bench {
  const directory = mkdtempSync(join(tmpdir(), "soci-evict-"));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  const blob = new MemoryBlob(LAYER.blob);
  return {
    directory,
    blob,
    open: async ({ digest: layerDigest, index, blob: bytes } = LAYER) => {
      const own = bytes === LAYER.blob ? blob : new MemoryBlob(bytes);
      const layer = await openLazyLayer({
        directory,
        layerDigest,
        index,
        blob: own,
        limits: { maxReadAheadBytes: 0 },
      });
      t.after(() => layer.close());
      return layer;
    },
    dataPath: () => {
      const identity = Buffer.from(cacheIdentity(LAYER.digest, LAYER.index));
      const folder = identity.toString("hex", 0, 16);
      return join(directory, `sha256-${LAYER.digest.slice(7)}`, folder, "data");
    },
  };
}

async function checkAll(layer: LazyLayer, truth: Uint8Array = LAYER.truth): Promise<void> {
  assert.ok(Buffer.from(await layer.readAt(0, truth.length)).equals(truth));
}

/** Reads all, and waits until all is in the cache: reads are served before that. */
async function fill(layer: LazyLayer, truth?: Uint8Array): Promise<void> {
  await checkAll(layer, truth);
  while (!layer.stats().complete) await delay(2);
  // The last span is in the file; that its record is, too, is known some turns later.
  await delay(20);
}

test("evictSpan() takes a span out, and the next read fetches just that one", async (t) => {
  const { open, blob, dataPath } = bench(t);
  const layer = await open();
  await fill(layer);
  const requests = blob.seen.length;
  const { uncompressedStart: start = 0, uncompressedEnd: end = 0 } = LAYER.index.spans[3] ?? {};
  const evicted = await layer.evictSpan(3, fillWithZeros);
  assert.equal(evicted.sizeBytes, end - start);
  assert.equal(evicted.chunks, Math.ceil((end - start) / 65_536));
  assert.equal(layer.stats().cachedBytes, SIZE - (end - start));
  assert.ok(
    readFileSync(dataPath())
      .subarray(start, end)
      .every((byte) => byte === 0),
  );
  assert.deepEqual(await layer.evictSpan(3, fillWithZeros), { chunks: 0, sizeBytes: 0 });
  assert.ok(!layer.cachedSpans().some(({ span }) => span === 3));
  await fill(layer);
  assert.equal(blob.seen.length, requests + 1);
  assert.deepEqual(layer.stats().complete, true);
  assert.equal(layer.stats().corruptChunks, 0);
});

test("cachedSpans() says when each span was last used, of those from before that it was not", async (t) => {
  const { open } = bench(t);
  await fill(await open());
  const layer = await open();
  const unused = layer.cachedSpans();
  assert.equal(unused.length, SPANS);
  assert.ok(unused.every(({ usedAtMs }) => usedAtMs === 0));
  await layer.readAt(LAYER.index.spans[2]?.uncompressedStart ?? 0, 10);
  await delay(5);
  await layer.readAt(0, 10);
  const [first, second, third] = layer.cachedSpans();
  assert.equal(second?.usedAtMs, 0);
  assert.ok((first?.usedAtMs ?? 0) > (third?.usedAtMs ?? 0) && (third?.usedAtMs ?? 0) > 0);
});

test("what one process evicts and another believes to be there is fetched again", async (t) => {
  const { open, blob } = bench(t);
  const [here, there] = [await open(), await open()];
  await fill(here);
  await fill(there);
  const requests = blob.seen.length;
  for (let span = 0; span < SPANS; span += 1) await here.evictSpan(span, fillWithZeros);
  assert.equal(there.stats().cachedBytes, SIZE);
  await fill(there);
  assert.ok(blob.seen.length > requests && there.stats().corruptChunks > 0);
  await fill(here);
});

test("a hole never passes for a chunk that has the checksum of zeros", async (t) => {
  const { open } = bench(t);
  // Not zeros, with the checksum of zeros: the polynomial of crc32 is in it.
  const forged = Buffer.alloc(65_536);
  forged.set([0x41, 0x06, 0x71, 0xdb, 0x01], 100);
  assert.equal(crc32(forged), crc32(Buffer.alloc(65_536)));
  const truth = Buffer.concat([forged, Buffer.alloc(65_536, 5)]);
  const blobBytes = gzipSync(truth);
  const layer = {
    blob: blobBytes,
    truth,
    digest: sha256(blobBytes),
    index: gzipIndex(blobBytes, 1_000_000),
  };
  const [here, there] = [await open(layer), await open(layer)];
  await fill(here, truth);
  await fill(there, truth);
  const evicted = await here.evictSpan(0, fillWithZeros);
  assert.deepEqual(evicted, { chunks: 1, sizeBytes: 65_536 }, "the forged chunk stays");
  await fill(there, truth);
  await fill(here, truth);
});

test("evictSpan() leaves a data file alone that has a second name", async (t) => {
  const { open, directory, dataPath } = bench(t);
  const layer = await open();
  await fill(layer);
  linkSync(dataPath(), join(directory, "second"));
  const never: PunchHole = () => assert.fail("the kernel may be reading it");
  for (let span = 0; span < SPANS; span += 1) {
    assert.equal((await layer.evictSpan(span, never)).chunks, 0);
  }
  assert.equal(layer.stats().complete, true);
  rmSync(join(directory, "second"));
  assert.ok((await layer.evictSpan(0, fillWithZeros)).chunks > 0);
});

test("evictSpan() under readers gives no wrong byte and counts no damage", async (t) => {
  const { open } = bench(t);
  const layer = await open();
  await fill(layer);
  let isDone = false;
  const slowly: PunchHole = async (fd, start, end) => {
    await delay(1);
    await fillWithZeros(fd, start, end);
    await delay(1);
  };
  const evicting = (async () => {
    for (let turn = 0; !isDone; turn += 1) await layer.evictSpan(turn % SPANS, slowly);
  })();
  const read = async (from: number): Promise<void> => {
    for (let turn = 0; turn < 40; turn += 1) {
      const start = (from + turn * 77_777) % (SIZE - 60_000);
      const bytes = Buffer.from(await layer.readAt(start, 60_000));
      assert.ok(bytes.equals(LAYER.truth.subarray(start, start + 60_000)), `at ${start}`);
    }
  };
  await Promise.all([read(0), read(300_000), read(600_000)]);
  isDone = true;
  await evicting;
});

test("evictSpan() that fails marks the span absent all the same, and says so", async (t) => {
  const { open } = bench(t);
  const layer = await open();
  await fill(layer);
  const { chunks, failure } = await layer.evictSpan(1, () => Promise.reject(new Error("no holes")));
  assert.ok(chunks > 0 && failure !== undefined);
  assert.equal(layer.stats().cacheErrors, 1);
  await fill(layer);
});

test("close() waits for an eviction: a descriptor's number may be another file's after it", async (t) => {
  const { open } = bench(t);
  const layer = await open();
  await fill(layer);
  let punched = 0;
  const evicting = layer.evictSpan(0, async (fd, start, end) => {
    await delay(20);
    await fillWithZeros(fd, start, end);
    punched += 1;
  });
  await layer.close();
  assert.equal(punched, 1);
  assert.ok((await evicting).chunks > 0);
  assert.equal((await layer.evictSpan(1, () => assert.fail("it is closed"))).chunks, 0);
});

test("reclaimStrays() gives back what no record counts, and touches nothing else", async (t) => {
  const { open } = bench(t);
  const first = await open();
  await fill(first);
  for (const span of [1, 2, 5]) await first.evictSpan(span, async () => {});
  await first.close();
  const layer = await open();
  const ranges: (readonly [number, number])[] = [];
  const freed = await layer.reclaimStrays(async (fd, start, end) => {
    ranges.push([start, end]);
    await fillWithZeros(fd, start, end);
  });
  assert.equal(freed, 0, "zeros free nothing");
  const span = (at: number) => LAYER.index.spans[at];
  assert.deepEqual(ranges, [
    [span(1)?.uncompressedStart, span(2)?.uncompressedEnd],
    [span(5)?.uncompressedStart, span(5)?.uncompressedEnd],
  ]);
  assert.equal(await layer.reclaimStrays(() => assert.fail("it was looked at already")), 0);
  await fill(layer);
});

test("bytes that are written are told of", async (t) => {
  const { directory } = bench(t);
  let [written, full] = [0, 0];
  const space = { wrote: (sizeBytes: number) => (written += sizeBytes), full: () => (full += 1) };
  const map = new ChunkMap(LAYER.index.spans);
  const identity = cacheIdentity(LAYER.digest, LAYER.index);
  const header = { layerDigest: LAYER.digest, identity, map };
  const reporting = { logger: silentLogger, metrics: silentMetrics, space };
  const cache = await LayerCache.open(join(directory, "x"), header, reporting);
  t.after(() => cache.close());
  const bytes = LAYER.truth.subarray(0, map.span(0).uncompressedEnd);
  await cache.writeSpan(0, bytes);
  assert.deepEqual([written, full], [bytes.length, 0]);
});
