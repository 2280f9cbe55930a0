import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Coverage } from "./coverage.ts";

describe("Coverage", () => {
  it("joins ranges that touch or overlap, and keeps others apart", () => {
    const coverage = new Coverage();
    coverage.add(10, 20);
    coverage.add(30, 40);
    coverage.add(5, 5);
    assert.deepEqual(
      [coverage.endFrom(10), coverage.endFrom(20), coverage.endFrom(5)],
      [20, 20, 5],
    );
    coverage.add(20, 30);
    assert.equal(coverage.endFrom(10), 40);
    coverage.add(0, 12);
    assert.equal(coverage.endFrom(0), 40);
  });

  it("says what comes next", () => {
    const coverage = new Coverage();
    coverage.add(10, 20);
    assert.equal(coverage.nextFrom(0), 10);
    assert.equal(coverage.nextFrom(15), 15);
    assert.equal(coverage.nextFrom(20), undefined);
  });

  it("agrees with a plain list of bytes", () => {
    const coverage = new Coverage();
    const bytes = new Array<boolean>(200).fill(false);
    let seed = 7;
    const random = (): number => {
      seed = (seed * 48_271) % 2_147_483_647;
      return seed % 200;
    };
    for (let round = 0; round < 60; round++) {
      const start = random();
      const end = Math.min(200, start + (random() % 20));
      coverage.add(start, end);
      bytes.fill(true, start, end);
      for (let at = 0; at < 200; at++) {
        const gap = bytes.indexOf(false, at);
        assert.equal(coverage.endFrom(at), bytes[at] ? (gap < 0 ? 200 : gap) : at);
        const next = bytes.indexOf(true, at);
        assert.equal(coverage.nextFrom(at), next < 0 ? undefined : next);
      }
    }
  });
});
