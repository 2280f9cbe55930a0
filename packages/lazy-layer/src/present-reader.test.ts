import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { delay, type Metrics } from "@soci-ts/core";
import { seededRandom } from "@soci-ts/testkit";
import { type LazyLayer, openLazyLayer, type PresentBytes, PresentReader } from "./index.ts";
import { testLayer } from "./testing/layers.ts";
import { MemoryBlob } from "./testing/memory-blob.ts";

const SIZE = 900_000;
const SPAN = 100_000;
const LAYER = testLayer("gzip", SIZE, SPAN);
/** Where the third span begins. */
const THIRD = LAYER.index.spans[2]?.uncompressedStart ?? 0;

interface Opened {
  readonly layer: LazyLayer;
  readonly present: PresentBytes;
  /** What another thread would read. */
  read(start: number, length: number): Uint8Array | undefined;
}

async function open(t: TestContext, metrics?: Metrics): Promise<Opened> {
  const directory = mkdtempSync(join(tmpdir(), "soci-present-"));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  const layer = await openLazyLayer({
    directory,
    layerDigest: LAYER.digest,
    index: LAYER.index,
    blob: new MemoryBlob(LAYER.blob),
    limits: { maxReadAheadBytes: 0 },
    ...(metrics === undefined ? {} : { metrics }),
  });
  t.after(() => layer.close());
  const { present } = layer;
  assert.ok(present !== undefined);
  const reader = new PresentReader(structuredClone(present));
  const memory = new Uint8Array(2 ** 20);
  return { layer, present, read: (start, length) => reader.read(start, length, memory) };
}

function checkBytes(bytes: Uint8Array | undefined, start: number, length: number): void {
  assert.ok(bytes !== undefined, `${length} bytes at ${start} are not there`);
  assert.ok(Buffer.from(bytes).equals(LAYER.truth.subarray(start, start + length)));
}

async function fill(layer: LazyLayer): Promise<void> {
  await layer.readAt(0, SIZE);
  while (!layer.stats().complete) await delay(2);
}

test("gives what is present, and nothing else, as it comes", async (t) => {
  const { layer, read } = await open(t);
  assert.equal(read(THIRD, 10), undefined);
  await layer.readAt(THIRD, 10);
  while (layer.stats().cachedBytes === 0) await delay(2);
  checkBytes(read(THIRD, 10), THIRD, 10);
  assert.equal(read(THIRD - 1, 10), undefined, "half of it is absent");
  await fill(layer);
  checkBytes(read(0, SIZE), 0, SIZE);
});

test("gives any range", async (t) => {
  const { layer, read } = await open(t);
  await fill(layer);
  const random = seededRandom(1);
  for (let turn = 0; turn < 300; turn += 1) {
    const start = Math.floor(random() * SIZE);
    const length = Math.floor(random() * Math.min(SIZE - start, 3 * SPAN)) + 1;
    checkBytes(read(start, length), start, length);
  }
  assert.equal(read(SIZE - 10, 11), undefined, "the padding is not in the file");
  assert.equal(read(SIZE + 5, 1), undefined);
});

test("gives nothing that is not what its checksum says", async (t) => {
  const { layer, present, read } = await open(t);
  await fill(layer);
  writeSync(present.fd, Uint8Array.of(255 - (LAYER.truth[THIRD] ?? 0)), 0, 1, THIRD);
  for (const length of [10, 70_000]) assert.equal(read(THIRD, length), undefined);
  const bytes = await layer.readAt(THIRD, 10);
  checkBytes(bytes, THIRD, 10);
});

test("gives nothing that was evicted, or of a layer that is closed", async (t) => {
  const { layer, read } = await open(t);
  await fill(layer);
  await layer.evictSpan(2, async (fd, start, end) => {
    writeSync(fd, new Uint8Array(end - start), 0, end - start, start);
  });
  assert.equal(read(THIRD, 70_000), undefined);
  checkBytes(read(0, 10), 0, 10);
  await layer.close();
  assert.equal(read(0, 10), undefined);
});

test("noteRead() counts a read as the layer's own", async (t) => {
  const seen: unknown[] = [];
  const metrics: Metrics = {
    count: (name, amount) => seen.push([name, amount]),
    observe: (name, value, labels) => seen.push([name, value, labels]),
  };
  const { layer } = await open(t, metrics);
  layer.noteRead(0, 4096, 0.002);
  assert.equal(layer.stats().bytesRead, 4096);
  assert.deepEqual(seen, [
    ["soci_layer_read_bytes_total", 4096],
    ["soci_layer_read_duration_seconds", 0.002, { source: "cache" }],
  ]);
  await layer.close();
  layer.noteRead(0, 4096, 0.002);
});
