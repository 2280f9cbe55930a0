import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { gzipSync } from "node:zlib";
import { concatBytes, sha256 } from "@soci-ts/core";
import { buildTar, seededBytes, seededRandom } from "@soci-ts/testkit";
import { buildIndex } from "./testing/build.ts";
import { GOLDEN_VECTORS, goldenLayer } from "./testing/golden.ts";
import { type PlainInflated, plainInflate } from "./testing/plain-inflate.ts";
import type { LayerIndex } from "./types.ts";
import { decodeZtoc } from "./ztoc/decode.ts";
import { encodeZtoc } from "./ztoc/encode.ts";

const WINDOW = 32_768;

/** What can be compared of a checkpoint and of its span. */
interface Point {
  readonly compressedOffset: number;
  readonly uncompressedOffset: number;
  readonly bits: number;
  readonly window: string;
  readonly spanDigest: string;
}

/** The rule of the format over the boundaries: the first one, then each with strictly more than a span of output behind it. */
function recompute(blob: Uint8Array, inflated: PlainInflated, spanSizeBytes: number): Point[] {
  const { output, boundaries } = inflated;
  let last = 0;
  const chosen = boundaries.filter(({ outputOffset }, at) => {
    if (at > 0 && outputOffset - last <= spanSizeBytes) return false;
    last = outputOffset;
    return true;
  });
  return chosen.map(({ bitOffset, outputOffset }, at) => {
    const start = Math.floor(bitOffset / 8);
    const end = Math.ceil((chosen[at + 1]?.bitOffset ?? blob.length * 8) / 8);
    const history = output.subarray(Math.max(0, outputOffset - WINDOW), outputOffset);
    const window = concatBytes([new Uint8Array(WINDOW - history.length), history]);
    return {
      compressedOffset: Math.ceil(bitOffset / 8),
      uncompressedOffset: outputOffset,
      bits: Math.ceil(bitOffset / 8) * 8 - bitOffset,
      window: sha256(window),
      spanDigest: sha256(blob.subarray(start, end)),
    };
  });
}

/** What went into a ztoc and came out of it again. */
function pointsOf(index: LayerIndex): Point[] {
  const { checkpoints, spans } = decodeZtoc(encodeZtoc(index));
  return checkpoints.map(({ compressedOffset, uncompressedOffset, bits, window }, at) => ({
    compressedOffset,
    uncompressedOffset,
    bits,
    window: sha256(window),
    spanDigest: spans[at]?.digest ?? "",
  }));
}

async function assertSame(
  blob: Uint8Array,
  maxBytes: number,
  sizes: readonly number[],
): Promise<number[]> {
  const inflated = plainInflate(blob, maxBytes);
  const counts: number[] = [];
  for (const spanSizeBytes of sizes) {
    const expected = recompute(blob, inflated, spanSizeBytes);
    const index = await buildIndex(blob, { spanSizeBytes, pieceBytes: 100_000 });
    assert.deepEqual(pointsOf(index), expected, `spans of ${spanSizeBytes}`);
    counts.push(expected.length);
  }
  return counts;
}

describe("a ztoc, against a second implementation of the format's rule", () => {
  const golden = GOLDEN_VECTORS.filter(
    ({ compression, ztocDigest }) => compression === "gzip" && ztocDigest !== undefined,
  );
  for (const vector of golden) {
    it(`has the same checkpoints and spans for ${vector.name} at odd span sizes`, async () => {
      await assertSame(goldenLayer(vector), 1_300_000, [65_537, 262_143]);
    });
  }

  it("has the same checkpoints and spans for a large layer at 4 MiB, 1 MiB and odd sizes", async () => {
    const random = seededRandom(7);
    const words = Array.from({ length: 400 }, () => Buffer.from(seededBytes(40, random() * 1e9)));
    const file = (): Buffer =>
      Buffer.concat(
        Array.from({ length: 12_000 }, () => words[Math.floor(random() * 400)] ?? words[0]!),
      );
    const items = Array.from({ length: 20 }, (_, at) => ({ name: `data/${at}`, content: file() }));
    const tar = await buildTar(items);
    // One member that ends in the middle of a span, and a second one.
    const cut = 5_000_003;
    const blob = concatBytes([gzipSync(tar.subarray(0, cut)), gzipSync(tar.subarray(cut))]);
    const sizes = [4_194_304, 1_048_576, 1_000_003];
    const counts = await assertSame(blob, tar.length, sizes);
    assert.ok(
      counts.every((count) => count > 1),
      String(counts),
    );
  });
});
