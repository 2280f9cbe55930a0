import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { gzipSync } from "node:zlib";
import { AppError, sha256 } from "@soci-ts/core";
import { HeaderTable } from "@soci-ts/layer-index";
import { createTarScan, type TarEntry } from "@soci-ts/tar";
import { buildTar, seededBytes } from "@soci-ts/testkit";
import { type LazyLayer, openLazyLayer, PresentReader } from "./index.ts";
import { gzipIndex, plainIndex } from "./testing/layers.ts";
import { MemoryBlob } from "./testing/memory-blob.ts";

const FILE_BYTES = 7000;
const TAR = await buildTar(
  Array.from({ length: 100 }, (_, i) => ({
    name: `folder/${"x".repeat(150)}/${i}`,
    content: seededBytes(FILE_BYTES, i),
  })),
);
const entries: TarEntry[] = [];
const scan = createTarScan({ onEntry: (entry) => entries.push(entry) });
scan.push(TAR);
scan.finish();

const BLOBS = {
  gzip: { blob: gzipSync(TAR), index: gzipIndex(gzipSync(TAR), 30_000) },
  // 10,000 is no multiple of 512 nor of a file's length: borders fall into headers.
  none: { blob: TAR, index: plainIndex(TAR, 10_000) },
};

async function open(
  t: TestContext,
  kind: keyof typeof BLOBS,
  claimed: readonly TarEntry[],
): Promise<LazyLayer> {
  const { blob, index } = BLOBS[kind];
  const directory = mkdtempSync(join(tmpdir(), "soci-headers-"));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  const layer = await openLazyLayer({
    directory,
    layerDigest: sha256(blob),
    index,
    headers: HeaderTable.of(claimed),
    blob: new MemoryBlob(blob),
    limits: { maxReadAheadBytes: 0 },
  });
  t.after(() => layer.close());
  return layer;
}

/** Which files can't be read, all read in order; fails if one of the others is wrong. */
async function unreadable(layer: LazyLayer): Promise<number[]> {
  const failed: number[] = [];
  for (const [at, { dataOffset, sizeBytes }] of entries.entries()) {
    try {
      const bytes = await layer.readAt(dataOffset, sizeBytes);
      assert.ok(Buffer.from(bytes).equals(TAR.subarray(dataOffset, dataOffset + sizeBytes)));
    } catch (error) {
      assert.ok(error instanceof AppError && error.code === "data_loss", String(error));
      failed.push(at);
    }
  }
  return failed;
}

for (const kind of ["gzip", "none"] as const) {
  test(`an honest file table costs nothing but a look at the headers (${kind})`, async (t) => {
    const layer = await open(t, kind, entries);
    assert.deepEqual(await unreadable(layer), []);
    assert.deepEqual(await unreadable(layer), []);
  });

  test(`a file that the table names wrongly can't be read, wherever its header lies (${kind})`, async (t) => {
    for (const liar of [0, 1, 2, 3, 4, 5, 50, 99]) {
      const lying = entries.map((entry, at) => (at === liar ? { ...entry, mode: 0o4777 } : entry));
      const layer = await open(t, kind, lying);
      const failed = await unreadable(layer);
      assert.ok(failed.includes(liar), `file ${liar} was read`);
    }
  });
}

test("another thread reads no file whose header nobody has looked at", async (t) => {
  const borders = BLOBS.none.index.spans.slice(1).map((span) => span.uncompressedStart);
  const split = HeaderTable.of(entries).splitBy(borders);
  const [{ at: liar } = { at: -1 }] = split;
  const lying = entries.map((entry, at) => (at === liar ? { ...entry, mode: 0o4777 } : entry));
  const layer = await open(t, "none", lying);
  while ((await layer.fetchAbsent()) !== undefined);
  assert.ok(layer.present !== undefined);
  const reader = new PresentReader(structuredClone(layer.present));
  const read = (at: number): Uint8Array | undefined => {
    const { dataOffset = 0, sizeBytes = 0 } = entries[at] ?? {};
    return reader.read(dataOffset, sizeBytes, new Uint8Array(2 ** 18));
  };
  for (const { at } of split) assert.equal(read(at), undefined, `file ${at}`);
  assert.ok((await unreadable(layer)).includes(liar));
  assert.equal(read(liar), undefined);
  const others = [...entries.keys()].filter((at) => Math.abs(at - liar) > 20);
  for (const at of others) {
    const { dataOffset = 0, sizeBytes = 0 } = entries[at] ?? {};
    const want = TAR.subarray(dataOffset, dataOffset + sizeBytes);
    assert.ok(Buffer.from(read(at) ?? []).equals(want), `file ${at}`);
  }
});

test("splitting spans cut some headers of the test's tar", () => {
  const borders = BLOBS.none.index.spans.slice(1).map(({ uncompressedStart }) => uncompressedStart);
  assert.ok(HeaderTable.of(entries).splitBy(borders).length > 3);
});
