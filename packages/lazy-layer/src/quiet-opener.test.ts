import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { crc32 } from "node:zlib";
import { sha256 } from "@soci-ts/core";
import { HeaderTable } from "@soci-ts/layer-index";
import { createTarScan, type TarEntry } from "@soci-ts/tar";
import { buildTar, seededBytes } from "@soci-ts/testkit";
import { CHUNK_BYTES } from "./chunk-map.ts";
import { openLazyLayer } from "./index.ts";
import { openQuietly } from "./quiet-opener.ts";
import { LAYER_KINDS, plainIndex, type TestLayer, testLayer } from "./testing/layers.ts";
import { MemoryBlob } from "./testing/memory-blob.ts";

const sourceOf = ({ digest: layerDigest, index }: Pick<TestLayer, "digest" | "index">) => ({
  layerDigest,
  index,
});

for (const kind of LAYER_KINDS) {
  test(`gives a span's bytes and its chunks' checksums (${kind})`, async () => {
    const layer = testLayer(kind, 500_000, 150_000);
    for (const [at, span] of layer.index.spans.entries()) {
      const compressed = layer.blob.slice(span.compressedStart, span.compressedEnd);
      const opened = await openQuietly(sourceOf(layer), at, compressed);
      // The span of a member's end goes on in the next one: that is left to others.
      if (kind === "gzip members" && opened === undefined) continue;
      const want = layer.truth.subarray(span.uncompressedStart, span.uncompressedEnd);
      assert.ok(opened !== undefined, `span ${at}`);
      assert.ok(Buffer.from(opened.bytes).equals(want), `span ${at}`);
      const checksums: number[] = [];
      for (let start = 0; start < want.length; start += CHUNK_BYTES) {
        checksums.push(crc32(want.subarray(start, start + CHUNK_BYTES)));
      }
      assert.deepEqual([...opened.checksums], checksums);
      assert.equal(compressed.length, span.compressedEnd - span.compressedStart, "it is kept");
    }
  });
}

test("gives nothing if the span does not have its digest, or can't be inflated", async () => {
  const { digest, index, blob } = testLayer("gzip", 300_000, 100_000);
  const { compressedStart = 0, compressedEnd = 0 } = index.spans[1] ?? {};
  const compressed = blob.slice(compressedStart, compressedEnd);
  const wrong = compressed.map((byte, at) => (at === 1000 ? 255 - byte : byte));
  assert.equal(await openQuietly({ layerDigest: digest, index }, 1, wrong), undefined);
  const checkpoints = index.checkpoints.map((checkpoint) => ({
    ...checkpoint,
    window: new Uint8Array(32_768),
    bits: (checkpoint.bits + 3) % 8,
  }));
  const lying = { layerDigest: digest, index: { ...index, checkpoints } };
  assert.equal(await openQuietly(lying, 1, compressed), undefined);
});

test("gives nothing if the headers in it are not the file table's", async () => {
  const files = [1, 2, 3].map((at) => ({ name: `${at}`, content: seededBytes(3000, at) }));
  const tar = await buildTar(files);
  const entries: TarEntry[] = [];
  const scan = createTarScan({ onEntry: (entry) => entries.push(entry) });
  scan.push(tar);
  scan.finish();
  const index = plainIndex(tar, 1_000_000);
  const lying = entries.map((entry, at) => (at === 1 ? { ...entry, mode: 0o4777 } : entry));
  for (const [claimed, isGood] of [
    [entries, true],
    [lying, false],
  ] as const) {
    const source = { layerDigest: sha256(tar), index, headers: HeaderTable.of(claimed) };
    const opened = await openQuietly(source, 0, tar.slice());
    assert.equal(opened !== undefined, isGood);
  }
});

test("a read that joins what is fetched for nobody is served", async (t) => {
  const layer = testLayer("gzip", 900_000, 100_000);
  const directory = mkdtempSync(join(tmpdir(), "soci-quiet-"));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  const { digest: layerDigest, index, truth } = layer;
  const limits = { maxReadAheadBytes: 0 };
  const blob = new MemoryBlob(layer.blob);
  await using opened = await openLazyLayer({ directory, layerDigest, index, blob, limits });
  const fetching = opened.fetchAbsent();
  const bytes = await opened.readAt(0, truth.length);
  assert.ok(Buffer.from(bytes).equals(truth));
  assert.ok(((await fetching) ?? 0) > 0);
  assert.ok(blob.bytesSent <= layer.blob.length, "each byte came once");
});
