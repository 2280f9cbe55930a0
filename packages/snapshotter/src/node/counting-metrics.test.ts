import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { CountingMetrics, LATENCY_BUCKETS } from "./counting-metrics.ts";

describe("CountingMetrics", () => {
  it("adds up counters by name", () => {
    const metrics = new CountingMetrics();
    metrics.count("a");
    metrics.count("a", 4);
    metrics.count("b", 0);
    assert.deepEqual(metrics.counts(), { a: 5, b: 0 });
  });

  it("puts each measurement into the first bucket that holds it, by name and labels", () => {
    const metrics = new CountingMetrics();
    for (const value of [0, 0.0001, 0.00011, 60, 61, 1e9]) {
      metrics.observe("h", value, { source: "cache" });
    }
    metrics.observe("h", 0.5, { source: "fetched" });
    const [cache, fetched] = metrics.histograms();
    assert.deepEqual(cache?.labels, { source: "cache" });
    assert.deepEqual(cache?.buckets.slice(0, 2), [2, 1]);
    assert.deepEqual(cache?.buckets.slice(-2), [1, 2]);
    assert.equal(cache?.buckets.length, LATENCY_BUCKETS.length + 1);
    assert.ok(Math.abs((cache?.sum ?? 0) - 1_000_000_121.00021) < 1e-6);
    assert.equal(fetched?.buckets[LATENCY_BUCKETS.indexOf(0.5)], 1);
  });
});
