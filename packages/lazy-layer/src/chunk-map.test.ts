import assert from "node:assert/strict";
import { test } from "node:test";
import type { Span } from "@soci-ts/layer-index";
import { CHUNK_BYTES, ChunkMap } from "./chunk-map.ts";
import { digestOfNothing } from "./testing/layers.ts";

function mapOf(borders: readonly number[]): ChunkMap {
  const spans = borders.slice(1).map((end, at): Span => {
    const start = borders[at] ?? 0;
    return {
      compressedStart: start,
      compressedEnd: end,
      uncompressedStart: start,
      uncompressedEnd: end,
      digest: digestOfNothing,
    };
  });
  return new ChunkMap(spans);
}

test("ChunkMap covers every byte once, and no chunk crosses a span", () => {
  for (const borders of [
    [0],
    [0, 1],
    [0, CHUNK_BYTES],
    [0, CHUNK_BYTES + 1],
    [0, 0, 10, 10, 10, 300_000, 300_001, 300_001],
    [0, 1, 65_535, 65_536, 131_073, 400_000],
  ]) {
    const map = mapOf(borders);
    let at = 0;
    let number = 0;
    for (const chunk of map.chunks(0, map.sizeBytes)) {
      assert.equal(chunk.start, at);
      assert.equal(chunk.number, number);
      assert.ok(chunk.end - chunk.start <= CHUNK_BYTES && chunk.end > chunk.start);
      const span = map.span(map.spanAt(chunk.start));
      assert.ok(span.uncompressedStart <= chunk.start && chunk.end <= span.uncompressedEnd);
      at = chunk.end;
      number += 1;
    }
    assert.equal(at, map.sizeBytes);
    assert.equal(number, map.count);
  }
});

test("ChunkMap.chunks() and pieces() give what a range touches, and no more", () => {
  const map = mapOf([0, 100_000, 100_000, 170_000, 170_001]);
  const whole = [...map.chunks(0, map.sizeBytes)];
  for (const [start, end] of [
    [0, 1],
    [65_535, 65_536],
    [65_535, 65_537],
    [65_536, 100_000],
    [99_999, 100_001],
    [100_000, 100_000],
    [169_999, 170_001],
    [0, 170_001],
  ] as const) {
    const expected = start < end ? whole.filter((it) => it.start < end && it.end > start) : [];
    assert.deepEqual([...map.chunks(start, end)], expected, `${start} to ${end}`);
    const pieces = [...map.pieces(start, end)];
    assert.equal(
      pieces.reduce((sum, piece) => sum + piece.end - piece.start, 0),
      end - start,
    );
    for (const piece of pieces) assert.equal(map.spanAt(piece.start), piece.span);
    assert.deepEqual(new Set(pieces.map(({ span }) => span)).size, pieces.length);
  }
});
