import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { createMetrics } from "./metrics.ts";
import type { MetricTable } from "./table.ts";

const TABLE: MetricTable = {
  app_reads_total: { type: "counter", help: "Reads.", labels: { kind: ["warm", "cold"] } },
  app_unknown_metrics_total: { type: "counter", help: "Slips." },
  app_open: { type: "gauge", help: "Open files.", labels: { kind: ["warm", "cold"] } },
  app_resident_bytes: { type: "gauge", help: "Memory." },
  app_read_seconds: { type: "histogram", help: "Time of a read.", buckets: [0.1, 1] },
};

describe("createMetrics()", () => {
  it("counts, observes and sets, and asks collectors before it shows", async () => {
    const metrics = createMetrics(TABLE, "app");
    metrics.count("app_reads_total", 3, { kind: "cold" });
    metrics.count("app_reads_total", 1, { kind: "cold" });
    metrics.observe("app_read_seconds", 0.5);
    metrics.onCollect(() => metrics.set("app_open", 7, { kind: "warm" }));
    const text = await metrics.text();
    assert.match(text, /^app_reads_total\{kind="cold"\} 4$/m);
    assert.match(text, /^app_read_seconds_bucket\{le="1"\} 1$/m);
    assert.match(text, /^app_open\{kind="warm"\} 7$/m);
    assert.match(text, /^app_resident_bytes \d{7,}$/m);
    assert.match(metrics.contentType, /^text\/plain/);
  });

  it("neither breaks nor opens the number of series when a caller slips", async () => {
    const metrics = createMetrics(TABLE, "app");
    metrics.count("app_nonsense_total");
    metrics.count("app_reads_total", -1);
    metrics.count("app_reads_total", Number.NaN);
    metrics.observe("app_open", 1);
    metrics.set("app_open", Number.POSITIVE_INFINITY);
    for (let i = 0; i < 50; i += 1) metrics.count("app_reads_total", 1, { kind: `kind ${i}` });
    const text = await metrics.text();
    assert.match(text, /^app_unknown_metrics_total 5$/m);
    assert.match(text, /^app_reads_total\{kind="other"\} 50$/m);
    assert.equal(text.match(/^app_reads_total/gm)?.length, 1);
  });
});
