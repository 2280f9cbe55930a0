import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { gunzipSync } from "node:zlib";
import { FormatError, sha256 } from "@soci-ts/core";
import { availableEngines, inflateFrom } from "@soci-ts/gzip";
import { compressedStartOf } from "../spans.ts";
import { build, buildIndex } from "../testing/build.ts";
import {
  GOLDEN_SPAN_SIZE_BYTES,
  GOLDEN_VECTORS,
  goldenFile,
  goldenLayer,
} from "../testing/golden.ts";
import type { LayerIndex } from "../types.ts";
import { decodeZtoc } from "./decode.ts";
import { encodeZtoc } from "./encode.ts";

const SOUND = GOLDEN_VECTORS.filter((vector) => vector.ztocDigest !== undefined);
const spanSizeBytes = GOLDEN_SPAN_SIZE_BYTES;

describe("encodeZtoc() of buildLayerIndex()", () => {
  for (const vector of SOUND) {
    for (const engine of availableEngines()) {
      it(`gives the reference's bytes for ${vector.name} with ${engine}`, async () => {
        const layer = goldenLayer(vector);
        const { compression } = vector;
        const built = await build(layer, { compression, spanSizeBytes, engine, pieceBytes: 4093 });
        const ztoc = encodeZtoc(built.index!);
        assert.equal(ztoc.length, vector.ztocSizeBytes);
        assert.equal(sha256(ztoc), vector.ztocDigest);
        assert.equal(built.layerDigest, vector.layerDigest);
        const tar = compression === "gzip" ? gunzipSync(layer) : layer;
        assert.equal(built.diffId, sha256(tar));
      });
    }
  }

  it("gives the same bytes however the blob is cut", async () => {
    const vector = SOUND.find(({ name }) => name === "sync-and-full-flushes")!;
    for (const pieceBytes of [7, 65_536, 1_000_000]) {
      const index = await buildIndex(goldenLayer(vector), { spanSizeBytes, pieceBytes });
      assert.equal(sha256(encodeZtoc(index)), vector.ztocDigest);
    }
  });

  it("gives the whole reference file for the uncompressed layer", async () => {
    const vector = SOUND.find(({ name }) => name === "uncompressed")!;
    const index = await buildIndex(goldenLayer(vector), { compression: "none", spanSizeBytes });
    assert.deepEqual(Buffer.from(encodeZtoc(index)), goldenFile("uncompressed.ztoc"));
  });

  it("refuses the layer that the reference refuses, and says where", async () => {
    const [refused] = GOLDEN_VECTORS.filter((vector) => vector.ztocDigest === undefined);
    await assert.rejects(
      build(goldenLayer(refused!), { spanSizeBytes }),
      (error) => error instanceof FormatError && error.offset === 242_191,
    );
  });
});

/** All bytes of a layer, each span inflated on its own. */
async function readSpans(index: LayerIndex, blob: Uint8Array): Promise<Uint8Array> {
  const tar = new Uint8Array(index.uncompressedSizeBytes);
  for (const [at, span] of index.spans.entries()) {
    const compressed = blob.subarray(span.compressedStart, span.compressedEnd);
    assert.equal(sha256(compressed), span.digest);
    const checkpoint = index.checkpoints[at];
    const length = span.uncompressedEnd - span.uncompressedStart;
    if (checkpoint !== undefined) assert.equal(compressedStartOf(checkpoint), span.compressedStart);
    const output =
      checkpoint === undefined
        ? compressed.subarray(0, length)
        : await inflateFrom(checkpoint, compressed, length);
    tar.set(output, span.uncompressedStart);
  }
  return tar;
}

describe("decodeZtoc()", () => {
  for (const vector of SOUND) {
    it(`lets every file of ${vector.name} be read through its spans`, async () => {
      const layer = goldenLayer(vector);
      const { compression } = vector;
      const ztoc = encodeZtoc(await buildIndex(layer, { compression, spanSizeBytes }));
      assert.equal(sha256(ztoc), vector.ztocDigest);
      const decoded = decodeZtoc(ztoc);
      const want = compression === "gzip" ? gunzipSync(layer) : layer;
      const got = await readSpans(decoded, layer);
      const files = decoded.entries.filter(({ type }) => type === "reg");
      assert.ok(files.length > 50);
      for (const { name, dataOffset, sizeBytes } of files) {
        const end = dataOffset + sizeBytes;
        assert.equal(
          Buffer.compare(got.subarray(dataOffset, end), want.subarray(dataOffset, end)),
          0,
          name,
        );
      }
      // Beyond the files: headers, and all else up to the end marker.
      assert.equal(Buffer.compare(got, want.subarray(0, got.length)), 0);
    });
  }

  it("gives back what was built", async () => {
    for (const vector of SOUND) {
      const { compression } = vector;
      const index = await buildIndex(goldenLayer(vector), { compression, spanSizeBytes });
      const { buildTool, ...decoded } = decodeZtoc(encodeZtoc(index, { buildTool: "é" }));
      assert.equal(buildTool, "é");
      assert.deepEqual(decoded, index);
    }
  });
});
