import assert from "node:assert/strict";
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { AppError } from "@soci-ts/core";
import { seededRandom } from "@soci-ts/testkit";
import { openLazyLayer } from "./index.ts";
import { HEADER_BYTES, RECORD_BYTES } from "./presence-format.ts";
import { digestOfNothing, testLayer } from "./testing/layers.ts";
import { MemoryBlob } from "./testing/memory-blob.ts";

const SIZE = 900_000;
const LAYER = testLayer("gzip", SIZE, 100_000);

interface Cached {
  readonly directory: string;
  /** The layer's cache folder. */
  readonly folder: string;
}

function newDirectory(t: TestContext): string {
  const directory = mkdtempSync(join(tmpdir(), "soci-layer-"));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

/** A directory with all of the layer in its cache. */
async function fillCache(t: TestContext): Promise<Cached> {
  const directory = newDirectory(t);
  await readAll(directory);
  const layer = join(directory, readdirSync(directory)[0] ?? "");
  return { directory, folder: join(layer, readdirSync(layer)[0] ?? "") };
}

function open(directory: string, blob: MemoryBlob, index = LAYER.index) {
  return openLazyLayer({
    directory,
    layerDigest: LAYER.digest,
    index,
    blob,
    limits: { maxReadAheadBytes: 0 },
  });
}

/** Reads the whole layer and compares it; says what that took. */
async function readAll(directory: string): Promise<{ requests: number; bytesFetched: number }> {
  const blob = new MemoryBlob(LAYER.blob);
  const layer = await open(directory, blob);
  const before = layer.stats();
  assert.equal(before.requests, 0);
  const bytes = await layer.readAt(0, SIZE);
  await layer.close();
  assert.ok(Buffer.from(bytes).equals(LAYER.truth));
  return { requests: layer.stats().requests, bytesFetched: layer.stats().bytesFetched };
}

function flip(path: string, offset: number): void {
  const bytes = readFileSync(path);
  bytes[offset] = 255 - (bytes[offset] ?? 0);
  writeFileSync(path, bytes);
}

test("a cache is found again, by this process and others", async (t) => {
  const { directory, folder } = await fillCache(t);
  assert.deepEqual(readdirSync(folder).sort(), ["data", "presence"]);
  assert.deepEqual(await readAll(directory), { requests: 0, bytesFetched: 0 });
  for (const [name, mode] of [
    ["", 0o700],
    ["data", 0o600],
    ["presence", 0o600],
  ] as const) {
    assert.equal(statSync(join(folder, name)).mode % 0o1000, mode, name);
  }
});

test("a damaged chunk is fetched again, and the cache is whole afterwards", async (t) => {
  const { directory, folder } = await fillCache(t);
  const data = join(folder, "data");
  const damages: Record<string, () => void> = {
    "first byte": () => flip(data, 0),
    "last byte": () => flip(data, SIZE - 1),
    "a byte between": () => flip(data, 456_789),
    truncated: () => truncateSync(data, 300_000),
    empty: () => truncateSync(data, 0),
    deleted: () => rmSync(data),
    "zeros written over": () => writeFileSync(data, new Uint8Array(SIZE)),
  };
  for (const [name, damage] of Object.entries(damages)) {
    damage();
    const { requests } = await readAll(directory);
    assert.ok(requests > 0, name);
    assert.deepEqual(await readAll(directory), { requests: 0, bytesFetched: 0 }, name);
  }
});

test("a cache file that is damaged while it is open is no problem", async (t) => {
  const { directory, folder } = await fillCache(t);
  const blob = new MemoryBlob(LAYER.blob);
  const layer = await open(directory, blob);
  t.after(() => layer.close());
  const check = async (at: number): Promise<void> => {
    const bytes = await layer.readAt(at, 50_000);
    assert.ok(Buffer.from(bytes).equals(LAYER.truth.subarray(at, at + 50_000)));
  };
  await check(10);
  flip(join(folder, "data"), 40_000);
  await check(10);
  assert.equal(layer.stats().corruptChunks, 1);
  truncateSync(join(folder, "data"), 500_000);
  await check(700_000);
  await check(480_000);
  truncateSync(join(folder, "presence"), 10);
  rmSync(folder, { recursive: true });
  await check(10);
  await check(700_000);
});

test("a presence file that is cut at any byte gives right bytes", async (t) => {
  const { directory, folder } = await fillCache(t);
  const path = join(folder, "presence");
  const whole = readFileSync(path);
  for (let length = 0; length < whole.length; length += length < HEADER_BYTES ? 8 : 3) {
    writeFileSync(path, whole.subarray(0, length));
    await readAll(directory);
    assert.equal(readFileSync(path).length, whole.length, `cut at ${length}`);
  }
});

test("a presence file with any bytes changed gives right bytes", async (t) => {
  const { directory, folder } = await fillCache(t);
  const path = join(folder, "presence");
  const whole = readFileSync(path);
  const random = seededRandom(11);
  for (let turn = 0; turn < 60; turn += 1) {
    const bytes = Buffer.from(whole);
    for (let count = 0; count <= turn % 4; count += 1) {
      // The format number decides between starting empty and being refused, see below.
      const at = Math.floor(random() * (bytes.length - 12));
      bytes[at < 8 ? at : at + 4] = Math.floor(random() * 256);
    }
    writeFileSync(path, bytes);
    await readAll(directory);
  }
});

test("a cache of a newer format is refused and left alone, one of an older is started anew", async (t) => {
  const { directory, folder } = await fillCache(t);
  const path = join(folder, "presence");
  const whole = readFileSync(path);
  const newer = Buffer.from(whole);
  newer.writeUInt32LE(2, 8);
  for (const bytes of [newer, newer.subarray(0, 12)]) {
    writeFileSync(path, bytes);
    await assert.rejects(open(directory, new MemoryBlob(LAYER.blob)), (error) => {
      assert.ok(error instanceof AppError);
      assert.equal(error.code, "failed_precondition");
      return true;
    });
    assert.deepEqual(readFileSync(path), bytes);
  }
  const older = Buffer.from(whole);
  older.writeUInt32LE(0, 8);
  writeFileSync(path, older);
  assert.ok((await readAll(directory)).requests > 0);
  assert.deepEqual(readFileSync(path), whole);
});

test("the presence file is as FORMAT.md says", async (t) => {
  const { folder } = await fillCache(t);
  const bytes = readFileSync(join(folder, "presence"));
  assert.equal(bytes.toString("latin1", 0, 8), "SOCILAYR");
  assert.equal(bytes.readUInt32LE(8), 1);
  assert.equal(bytes.readUInt32LE(12), 65_536);
  assert.equal(Number(bytes.readBigUInt64LE(16)), SIZE);
  assert.equal(bytes.length, HEADER_BYTES + bytes.readUInt32LE(24) * RECORD_BYTES);
  assert.equal(bytes.toString("latin1", 64, 256).replace(/\0+$/, ""), LAYER.digest);
});

test("indexes that give other bytes for the same layer do not share a cache", async (t) => {
  const { directory } = await fillCache(t);
  const forged = LAYER.index.checkpoints.map((it, at) =>
    at === 3 ? { ...it, window: Uint8Array.from(it.window, (byte) => 255 - byte) } : it,
  );
  const spans = LAYER.index.spans.map((it, at) =>
    at === 3 ? { ...it, digest: digestOfNothing } : it,
  );
  for (const index of [
    { ...LAYER.index, checkpoints: forged },
    { ...LAYER.index, spans },
  ]) {
    const layer = await open(directory, new MemoryBlob(LAYER.blob), index);
    assert.equal(layer.stats().cachedBytes, 0);
    await layer.close();
  }
  assert.deepEqual(await readAll(directory), { requests: 0, bytesFetched: 0 });
});

test("two openers of one cache see what the other fetched", async (t) => {
  const directory = newDirectory(t);
  const blobs = [new MemoryBlob(LAYER.blob), new MemoryBlob(LAYER.blob)];
  const [first, second] = await Promise.all(blobs.map((blob) => open(directory, blob)));
  assert.ok(first !== undefined && second !== undefined);
  t.after(() => Promise.all([first.close(), second.close()]));
  await first.readAt(0, 400_000);
  while (first.stats().cachedBytes < 400_000) await new Promise((done) => setTimeout(done, 2));
  const bytes = await second.readAt(0, 400_000);
  assert.ok(Buffer.from(bytes).equals(LAYER.truth.subarray(0, 400_000)));
  assert.equal(blobs[1]?.seen.length, 0);
  const random = seededRandom(2);
  await Promise.all(
    Array.from({ length: 60 }, async (_, turn) => {
      const at = Math.floor(random() * 800_000);
      const part = await (turn % 2 === 0 ? first : second).readAt(at, 100_000);
      assert.ok(Buffer.from(part).equals(LAYER.truth.subarray(at, at + 100_000)));
    }),
  );
});

test("without a usable directory reads are served from memory, and spans are not fetched for every read", async (t) => {
  const directory = newDirectory(t);
  const file = join(directory, "file");
  writeFileSync(file, "");
  const blob = new MemoryBlob(LAYER.blob);
  const layer = await open(join(file, "below"), blob);
  t.after(() => layer.close());
  for (let at = 0; at + 4096 < SIZE; at += 4096) {
    const bytes = await layer.readAt(at, 4096);
    assert.ok(Buffer.from(bytes).equals(LAYER.truth.subarray(at, at + 4096)));
  }
  const { cachedBytes, complete, cacheErrors, requests } = layer.stats();
  assert.deepEqual({ cachedBytes, complete }, { cachedBytes: 0, complete: false });
  assert.ok(cacheErrors > 0);
  assert.ok(requests <= LAYER.index.spans.length, `${requests} requests`);
});

test("a folder that turns into something else is survived", async (t) => {
  const { directory, folder } = await fillCache(t);
  rmSync(join(folder, "data"));
  mkdirSync(join(folder, "data"));
  assert.ok((await readAll(directory)).requests > 0);
  rmSync(join(folder, "presence"));
  mkdirSync(join(folder, "presence"));
  chmodSync(folder, 0o500);
  assert.ok((await readAll(directory)).requests > 0);
  chmodSync(folder, 0o700);
});
