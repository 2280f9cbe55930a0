import assert from "node:assert/strict";
import { test } from "node:test";
import { ReadAhead } from "./read-ahead.ts";

const MiB = 2 ** 20;

/** Reads `count` pieces of 1 MiB from `start`, and gives all ranges that were to be fetched ahead. */
function readInOrder(readAhead: ReadAhead, start: number, count: number) {
  const ranges: { readonly start: number; readonly end: number }[] = [];
  for (let at = 0; at < count; at += 1) {
    const range = readAhead.note(start + at * MiB, start + (at + 1) * MiB);
    if (range !== undefined) ranges.push(range);
  }
  return ranges;
}

test("ReadAhead grows with what was read, up to its limit, without gap or overlap", () => {
  const ranges = readInOrder(new ReadAhead(16 * MiB), 0, 100);
  assert.equal(ranges[0]?.start, 4 * MiB);
  for (const [at, { start, end }] of ranges.entries()) {
    assert.ok(end > start);
    assert.equal(start, at === 0 ? 4 * MiB : ranges[at - 1]?.end);
    assert.ok(end - start <= 16 * MiB);
  }
  assert.ok((ranges.at(-1)?.end ?? 0) >= 100 * MiB);
  assert.ok(ranges.length < 20, `${ranges.length} ranges`);
});

test("ReadAhead keeps off short runs, random reads, and when it is switched off", () => {
  assert.deepEqual(readInOrder(new ReadAhead(16 * MiB), 0, 3), []);
  assert.deepEqual(readInOrder(new ReadAhead(0), 0, 100), []);
  const random = new ReadAhead(16 * MiB);
  for (let at = 0; at < 1000; at += 1) {
    const start = ((at * 7919) % 1000) * 3 * MiB;
    assert.equal(random.note(start, start + 65_536), undefined);
  }
});

test("ReadAhead follows several readers, also when their reads overtake each other", () => {
  const readAhead = new ReadAhead(16 * MiB);
  let found = 0;
  for (let at = 0; at < 200; at += 2) {
    for (const base of [0, 500 * MiB, 900 * MiB]) {
      for (const step of [at + 1, at]) {
        const start = base + step * 131_072;
        if (readAhead.note(start, start + 131_072) !== undefined) found += 1;
      }
    }
  }
  assert.ok(found >= 6, `${found} ranges`);
});
