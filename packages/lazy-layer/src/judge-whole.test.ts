import assert from "node:assert/strict";
import {
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { AppError, type Digest, type ErrorCode, sha256 } from "@soci-ts/core";
import { buildLayerIndex, HeaderTable } from "@soci-ts/layer-index";
import { seededBytes } from "@soci-ts/testkit";
import { type LazyLayer, openLazyLayer, readWholeVerdict, streamLayer } from "./index.ts";
import { cutAnswer, MemoryBlob } from "./testing/memory-blob.ts";
import { layerOfTar, makeTar } from "./testing/tars.ts";

const TAR = await makeTar(2_000_000, 5);
const LAYER = layerOfTar(TAR, "gzip");
const BUILT = await buildLayerIndex(pieces(LAYER.blob), {
  compression: "gzip",
  spanSizeBytes: 300_000,
});
const INDEX = BUILT.index!;
const OTHER: Digest = sha256(Buffer.from("another layer"));

async function* pieces(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}

interface Bench {
  readonly counts: Map<string, number>;
  readonly blob: MemoryBlob;
  /** The cache directory, once a layer was opened. */
  folder(): string;
  open(diffId?: Digest): Promise<LazyLayer>;
}

function bench(t: TestContext): Bench {
  const directory = mkdtempSync(join(tmpdir(), "soci-layer-"));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  const counts = new Map<string, number>();
  const blob = new MemoryBlob(LAYER.blob);
  const folder = (): string => {
    const layer = join(directory, readdirSync(directory)[0] ?? "");
    return join(layer, readdirSync(layer)[0] ?? "");
  };
  const open = async (diffId?: Digest): Promise<LazyLayer> => {
    const layer = await openLazyLayer({
      directory,
      layerDigest: LAYER.descriptor.digest,
      index: INDEX,
      headers: HeaderTable.of(INDEX.entries),
      diffId,
      blob,
      metrics: {
        count: (name, n = 1) => counts.set(name, (counts.get(name) ?? 0) + n),
        observe: () => {},
      },
    });
    t.after(() => layer.close());
    return layer;
  };
  return { counts, blob, folder, open };
}

async function complete(layer: LazyLayer): Promise<number> {
  let sum = 0;
  for (;;) {
    const bytes = await layer.fetchAbsent();
    if (bytes === undefined) return sum;
    sum += bytes;
  }
}

function hasCode(code: ErrorCode): (error: unknown) => boolean {
  return (error) => AppError.from(error).code === code;
}

test("fetchAbsent() brings what is missing, each byte once, and says when nothing is", async (t) => {
  assert.ok(INDEX.spans.length > 5 && INDEX.uncompressedSizeBytes < TAR.length);
  const { open, blob } = bench(t);
  const layer = await open();
  await layer.readAt(1_000_000, 10);
  const before = blob.bytesSent;
  const [brought, read] = await Promise.all([complete(layer), layer.readAt(1_500_000, 1000)]);
  assert.ok(Buffer.from(read).equals(TAR.subarray(1_500_000, 1_501_000)));
  assert.ok(brought > 0 && layer.stats().complete);
  assert.ok(blob.bytesSent - before <= LAYER.blob.length);
  const { requests } = layer.stats();
  assert.ok(Buffer.from(await layer.readAt(0, layer.size)).equals(TAR.subarray(0, layer.size)));
  assert.equal(layer.stats().requests, requests);
  assert.equal(await layer.fetchAbsent(), undefined);
});

test("fetchAbsent() within a range brings its spans and no others, whether the layer has them or not", async (t) => {
  const { open, blob } = bench(t);
  const layer = await open();
  const within = { startSpan: 2, endSpan: 3 };
  const [first, last] = [INDEX.spans[2], INDEX.spans[3]];
  const wanted = (last?.compressedEnd ?? 0) - (first?.compressedStart ?? 0);
  const brought = await layer.fetchAbsent(within);
  assert.ok(brought !== undefined && Math.abs(brought - wanted) <= 1, `${brought} for ${wanted}`);
  assert.equal(await layer.fetchAbsent(within), undefined);
  assert.deepEqual(
    layer.cachedSpans().map(({ span }) => span),
    [2, 3],
  );
  const { bytesSent } = blob;
  await layer.readAt(first?.uncompressedStart ?? 0, 1000);
  assert.equal(blob.bytesSent, bytesSent);
  const beyond = INDEX.spans.length;
  assert.equal(await layer.fetchAbsent({ startSpan: beyond, endSpan: beyond + 9 }), undefined);
  await layer.fetchAbsent({ startSpan: beyond - 1, endSpan: 2_147_483_647 });
  assert.ok(layer.cachedSpans().length <= 3);
});

test("fetchAbsent() that fails is not remembered against reads", async (t) => {
  const { open, blob } = bench(t);
  const layer = await open();
  const failure = new AppError("not_found", "no such blob");
  blob.answer = (request) => (request === 0 ? cutAnswer(10, failure) : undefined);
  await assert.rejects(layer.fetchAbsent(), hasCode("not_found"));
  assert.equal((await layer.readAt(0, 512)).length, 512);
});

test("fetchAbsent() says so when the cache does not take what it brings", async (t) => {
  const directory = join(mkdtempSync(join(tmpdir(), "soci-layer-")), "file");
  t.after(() => rmSync(join(directory, ".."), { recursive: true, force: true }));
  writeFileSync(directory, "no directory");
  const blob = new MemoryBlob(LAYER.blob);
  const layerDigest = LAYER.descriptor.digest;
  await using layer = await openLazyLayer({ directory, layerDigest, index: INDEX, blob });
  for (let turn = 0; turn < 2; turn += 1) {
    await assert.rejects(layer.fetchAbsent(), hasCode("resource_exhausted"));
  }
  assert.ok(blob.seen.length <= 2);
});

test("judge() finds a layer right, padding behind the tar's end included, for as long as its file stays", async (t) => {
  const { open, folder } = bench(t);
  const diffId = LAYER.diffId;
  const layer = await open(diffId);
  await layer.readAt(0, 10);
  assert.equal(layer.verdict, "unknown");
  assert.equal(await layer.judge(), "unknown", "most of it is absent");
  await complete(layer);
  assert.equal(await layer.judge(), "right");
  assert.equal(layer.verdict, "right");
  const data = join(folder(), "data");
  assert.deepEqual(await readWholeVerdict(folder(), diffId), { verdict: "right", dataPath: data });
  assert.equal((await readWholeVerdict(folder(), OTHER)).verdict, "unknown");
  await layer.close();
  assert.equal((await open(diffId)).verdict, "right");

  utimesSync(data, 5, 5);
  assert.equal((await readWholeVerdict(folder(), diffId)).verdict, "unknown");
  const touched = await open(diffId);
  assert.equal(touched.verdict, "unknown");
  assert.equal(await touched.judge(), "right");

  const bytes = readFileSync(data);
  bytes[777_777] = 255 - (bytes[777_777] ?? 0);
  writeFileSync(data, bytes);
  const damaged = await open(diffId);
  assert.equal(await damaged.judge(), "unknown");
  assert.equal(damaged.stats().corruptChunks, 1);
  assert.equal(damaged.stats().complete, false);
  assert.ok((await complete(damaged)) > 0);
  assert.equal(await damaged.judge(), "right");
  assert.deepEqual(
    Buffer.from(await damaged.readAt(777_000, 1000)),
    TAR.subarray(777_000, 778_000),
  );
});

for (const compression of ["gzip", "none"] as const) {
  test(`judge() finds a layer right whose tar is followed by more than zeros (${compression})`, async (t) => {
    const directory = mkdtempSync(join(tmpdir(), "soci-layer-"));
    t.after(() => rmSync(directory, { recursive: true, force: true }));
    const tails = {
      little: 3,
      "a span and more": 700_000,
      "more than any tool writes": 17_000_000,
    };
    for (const [what, sizeBytes] of Object.entries(tails)) {
      const tar = Buffer.concat([TAR, seededBytes(sizeBytes, 8)]);
      const { blob: bytes, descriptor, diffId } = layerOfTar(tar, compression);
      const options = { compression, spanSizeBytes: 300_000 };
      const { index } = await buildLayerIndex(pieces(bytes), options);
      assert.ok(index !== undefined);
      const blob = new MemoryBlob(bytes);
      const layerDigest = descriptor.digest;
      await using layer = await openLazyLayer({ directory, layerDigest, index, diffId, blob });
      await complete(layer);
      const down = new AppError("unavailable", "the registry is down");
      const mocked = t.mock.method(blob, "readAt", () => Promise.reject(down));
      const isMuch = sizeBytes > 16_777_216;
      if (!isMuch) await assert.rejects(layer.judge(), hasCode("unavailable"), what);
      assert.equal(layer.verdict, "unknown");
      mocked.mock.restore();
      assert.equal(await layer.judge(), isMuch ? "wrong" : "right", what);
    }
  });
}

test("judge() notices what was found damaged after it", async (t) => {
  const { open, folder } = bench(t);
  const layer = await open(LAYER.diffId);
  await complete(layer);
  assert.equal(await layer.judge(), "right");
  const data = join(folder(), "data");
  const bytes = readFileSync(data);
  bytes[0] = 255 - (bytes[0] ?? 0);
  writeFileSync(data, bytes);
  assert.deepEqual(Buffer.from(await layer.readAt(0, 9)), TAR.subarray(0, 9));
  assert.equal(layer.verdict, "unknown");
});

test("judge() makes reads of a layer that is something else fail, also when it is opened again", async (t) => {
  const { open, folder, counts, blob } = bench(t);
  const layer = await open(OTHER);
  assert.equal((await layer.readAt(0, 10)).length, 10);
  await complete(layer);
  assert.equal(await layer.judge(), "wrong");
  await assert.rejects(layer.readAt(0, 10), hasCode("data_loss"));
  assert.equal(await layer.judge(), "wrong");
  assert.equal(counts.get("soci_layer_wrong_diff_ids_total"), 1);
  await layer.close();
  utimesSync(join(folder(), "data"), 5, 5);
  const requests = blob.seen.length;
  const again = await open(OTHER);
  assert.equal(again.verdict, "wrong");
  await assert.rejects(again.readAt(0, 10), hasCode("data_loss"));
  await assert.rejects(again.fetchAbsent(), hasCode("data_loss"));
  assert.equal(blob.seen.length, requests);
  assert.equal(counts.get("soci_layer_wrong_diff_ids_total"), 1);
  await again.close();
  rmSync(folder(), { recursive: true });
  assert.equal((await open(OTHER)).verdict, "unknown", "deleting the cache is a new start");
});

test("judge() holds headers that spans' borders cut against the file table", async (t) => {
  const { blob } = bench(t);
  const directory = mkdtempSync(join(tmpdir(), "soci-layer-"));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  const entry = INDEX.entries.at(-1)!;
  // A border in the middle of the last header.
  const border = entry.headerOffset + 100;
  const size = INDEX.uncompressedSizeBytes;
  const span = (start: number, end: number) => ({
    compressedStart: start,
    compressedEnd: end,
    uncompressedStart: start,
    uncompressedEnd: end,
    digest: sha256(TAR.subarray(start, end)),
  });
  const plain = new MemoryBlob(TAR.subarray(0, size));
  const index = {
    ...INDEX,
    compression: "none" as const,
    compressedSizeBytes: size,
    spans: [span(0, border), span(border, size)],
    checkpoints: [],
  };
  const entries = [...INDEX.entries.slice(0, -1), { ...entry, mode: 0o7777 }];
  const layer = await openLazyLayer({
    directory,
    layerDigest: sha256(TAR.subarray(0, size)),
    index,
    headers: HeaderTable.of(entries),
    diffId: LAYER.diffId,
    blob: plain,
  });
  t.after(() => layer.close());
  await complete(layer);
  await assert.rejects(layer.judge(), hasCode("data_loss"));
  assert.equal(layer.verdict, "unknown");
  assert.equal(blob.seen.length, 0);
});

test("readWholeVerdict() takes damage for nothing, and refuses what a newer version wrote", async (t) => {
  const { open, folder } = bench(t);
  await open();
  const path = join(folder(), "whole.json");
  assert.equal(existsSync(path), false);
  for (const text of ["", "{", "null", "[]", "7", '{"formatVersion":0}', '{"formatVersion":1}']) {
    writeFileSync(path, text);
    assert.equal((await readWholeVerdict(folder(), OTHER)).verdict, "unknown", text);
  }
  const odd = { formatVersion: 1, diffId: OTHER, verdict: "right" };
  writeFileSync(path, JSON.stringify(odd));
  assert.equal((await readWholeVerdict(folder(), OTHER)).verdict, "unknown");
  writeFileSync(path, JSON.stringify({ ...odd, formatVersion: 2 }));
  await assert.rejects(readWholeVerdict(folder(), OTHER), hasCode("failed_precondition"));
});

test("a layer that was streamed is right from the start", async (t) => {
  for (const kind of ["gzip", "zstd"] as const) {
    const directory = mkdtempSync(join(tmpdir(), "soci-layer-"));
    t.after(() => rmSync(directory, { recursive: true, force: true }));
    const { descriptor, diffId, blob } = layerOfTar(TAR, kind);
    const { index, blob: other } = await streamLayer({
      directory,
      descriptor,
      diffId,
      open: () => pieces(blob),
    });
    const layerDigest = descriptor.digest;
    const own = other ?? new MemoryBlob(blob);
    const layer = await openLazyLayer({ directory, layerDigest, index, blob: own, diffId });
    t.after(() => layer.close());
    assert.equal(layer.verdict, "right", kind);
    const folder = join(directory, readdirSync(directory)[0] ?? "", "whole");
    rmSync(join(folder, "whole.json"));
    assert.equal(await layer.judge(), "right", "an older version left none");
    assert.equal((await readWholeVerdict(folder, diffId)).verdict, "right");
  }
});
