import assert from "node:assert/strict";
import { mkdir } from "node:fs/promises";
import { it } from "node:test";
import { silentLogger, silentMetrics } from "@soci-ts/core";
import { temporary } from "../testing/temporary.ts";
import { slotHydrator } from "./hydrate-slots.ts";
import { nodePaths } from "./node-paths.ts";
import { NO_STATS, type SlotStats, slotDirectory, writeSlotStats } from "./slot-files.ts";

/** Layers of a node by number: those that are on the disk only, and one (9) that is open. */
const CLOSED: Readonly<Record<number, Partial<SlotStats>>> = {
  1: { bytesRead: 5, cachedBytes: 10, sizeBytes: 1000, verdict: "unknown" },
  2: { bytesRead: 5, cachedBytes: 900, sizeBytes: 1000, verdict: "unknown" },
  3: { bytesRead: 0, cachedBytes: 900, sizeBytes: 1000, verdict: "unknown" },
  4: { bytesRead: 5, cachedBytes: 900, sizeBytes: 1000, verdict: "wrong" },
  5: { bytesRead: 5, cachedBytes: 7, sizeBytes: 7, isComplete: true, verdict: "right" },
  6: { bytesRead: 5, cachedBytes: 7, sizeBytes: 7, isComplete: true },
  7: { bytesRead: 5, cachedBytes: 7, sizeBytes: 7, isComplete: true, verdict: "unknown" },
};
const OPEN: SlotStats = { ...NO_STATS, bytesRead: 1, cachedBytes: 500, sizeBytes: 1000 };

for (const [isOn, expected] of [
  [true, [7, 2, 9, 1]],
  [false, [7]],
] as const) {
  it(`slotHydrator() takes layers that were read, what lacks least first; fetching is ${isOn ? "on" : "off"}`, async () => {
    await using scratch = await temporary();
    const paths = nodePaths(scratch.path);
    for (const slot of [...Object.keys(CLOSED), 8, 9]) {
      await mkdir(slotDirectory(paths.slots, Number(slot)), { recursive: true });
    }
    for (const [slot, stats] of Object.entries(CLOSED)) {
      await writeSlotStats(slotDirectory(paths.slots, Number(slot)), { ...NO_STATS, ...stats });
    }
    const used: number[] = [];
    const ended = new AbortController();
    const hydrator = slotHydrator({
      isOn,
      maxBytesPerSecond: 1000,
      idleMs: 0,
      paths,
      slots: {
        stats: () => new Map([[9, OPEN]]),
        // Whatever it is, it fails: so each is tried once.
        use: async (slot) => {
          used.push(slot);
          if (used.length === expected.length) ended.abort();
          throw new Error("no layer");
        },
        quietMs: Number.POSITIVE_INFINITY,
      },
      logger: silentLogger,
      metrics: silentMetrics,
    });
    await hydrator.run(ended.signal);
    assert.deepEqual(used, expected);
  });
}
