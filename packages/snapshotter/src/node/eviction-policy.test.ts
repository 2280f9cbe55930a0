import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { excessBytes, isRoomy } from "./eviction-policy.ts";

const GB = 1e9;

describe("excessBytes()", () => {
  for (const [name, quota, minFree, allocated, free, expected] of [
    ["all is well", 10, 2, 10, 5, 0],
    ["over the quota: down to nine tenths", 10, 2, 11, 5, 2],
    ["no quota", 0, 2, 1000, 5, 0],
    ["too little free: up to a tenth more", 0, 2, 1000, 1, 1.2],
    ["both: the larger counts", 10, 2, 20, 1.9, 11],
    ["free space left to the quota", 10, 0, 5, 0, 0],
  ] as const) {
    it(`is ${expected} GB if ${name}`, () => {
      const limits = { quotaBytes: quota * GB, minFreeBytes: minFree * GB };
      const use = { allocatedBytes: allocated * GB, freeBytes: free * GB };
      assert.ok(Math.abs(excessBytes(limits, use) - expected * GB) <= 1);
    });
  }
});

describe("isRoomy()", () => {
  it("is false before anything has to go", () => {
    const limits = { quotaBytes: 100, minFreeBytes: 100 };
    const isRoomyAt = (allocatedBytes: number, freeBytes: number): boolean =>
      isRoomy(limits, { allocatedBytes, freeBytes });
    assert.deepEqual(
      [isRoomyAt(89, 111), isRoomyAt(90, 111), isRoomyAt(89, 110)],
      [true, false, false],
    );
    assert.ok(isRoomy({ quotaBytes: 0, minFreeBytes: 0 }, { allocatedBytes: 1e15, freeBytes: 1 }));
  });
});
