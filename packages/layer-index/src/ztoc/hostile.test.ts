import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { AppError, FormatError } from "@soci-ts/core";
import { seededRandom } from "@soci-ts/testkit";
import { buildIndex } from "../testing/build.ts";
import { GOLDEN_VECTORS, goldenLayer } from "../testing/golden.ts";
import { smallZtoc } from "../testing/small-ztoc.ts";
import { decodeZtoc } from "./decode.ts";
import { encodeZtoc } from "./encode.ts";

const SMALL_RUNS = 40_000;
const GOLDEN_RUNS = 4000;
const LIMITS = { maxMetadataBytes: 1_000_000 };

/** Decodes; what is accepted must be in order, and what is not must be a typed error. */
function accepts(ztoc: Uint8Array): boolean {
  try {
    const { entries, spans, uncompressedSizeBytes } = decodeZtoc(ztoc, LIMITS);
    let end = 0;
    for (const span of spans) {
      assert.ok(span.uncompressedStart === end && span.uncompressedEnd >= end);
      assert.ok(span.compressedEnd > span.compressedStart);
      end = span.uncompressedEnd;
    }
    assert.equal(end, uncompressedSizeBytes);
    for (const entry of entries) assert.ok(entry.dataOffset >= entry.headerOffset + 512);
    return true;
  } catch (error) {
    assert.ok(error instanceof AppError, String(error));
    assert.ok(error.code === "data_loss" || error.code === "resource_exhausted", error.message);
    return false;
  }
}

/** Changes a few bytes and words, most of them among the last `tableBytes`, where the tables are. */
function mutate(ztoc: Uint8Array, random: () => number): Uint8Array {
  const bytes = Uint8Array.from(ztoc);
  const view = new DataView(bytes.buffer);
  const pick = (limit: number): number => Math.floor(random() * limit);
  for (let change = pick(4); change >= 0; change -= 1) {
    const at = pick(bytes.length - 4);
    const kind = random();
    if (kind < 0.4) bytes[at] = pick(256);
    else if (kind < 0.6) view.setUint32(at, pick(bytes.length), true);
    else if (kind < 0.8) view.setInt32(at, pick(64) - 32, true);
    else if (kind < 0.9) view.setUint32(at, pick(2 ** 32), true);
    else bytes.copyWithin(at, pick(bytes.length), pick(bytes.length));
  }
  return bytes;
}

describe("decodeZtoc() on hostile input", () => {
  it("refuses truncation at every byte", () => {
    const ztoc = smallZtoc();
    for (let length = 0; length < ztoc.length; length += 1) {
      assert.throws(() => decodeZtoc(ztoc.subarray(0, length)), FormatError, `${length}`);
    }
  });

  it("gives an index in order or a typed error for any mutation", () => {
    const random = seededRandom(3);
    const ztoc = smallZtoc();
    let accepted = 0;
    for (let run = 0; run < SMALL_RUNS; run += 1) accepted += Number(accepts(mutate(ztoc, random)));
    assert.ok(accepted > 0 && accepted < SMALL_RUNS / 2, `${accepted} of ${SMALL_RUNS}`);
  });

  it("does so for a ztoc of a real layer", async () => {
    const random = seededRandom(4);
    const vector = GOLDEN_VECTORS.find(({ name }) => name === "uncompressed")!;
    const layer = goldenLayer(vector);
    const ztoc = encodeZtoc(await buildIndex(layer, { compression: "none" }));
    for (let run = 0; run < GOLDEN_RUNS; run += 1) accepts(mutate(ztoc, random));
  });
});
