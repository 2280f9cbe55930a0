import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { createMetrics } from "./metrics.ts";
import { METRICS } from "./metrics-table.ts";

describe("METRICS", () => {
  it("has every counter that the packages count", () => {
    const root = fileURLToPath(new URL("../../../packages", import.meta.url));
    const names = new Set<string>();
    for (const file of readdirSync(root, { recursive: true, encoding: "utf8" })) {
      if (!/^[^/]+\/src\/.*\.ts$/.test(file) || /\.(test|e2e)\.ts$|\/testing\//.test(file))
        continue;
      // The registry's service counts for itself.
      if (file.startsWith("registry-server/")) continue;
      const text = readFileSync(join(root, file), "utf8");
      for (const [name] of text.matchAll(/soci_[a-z_]+_total/g)) names.add(name);
    }
    assert.ok(names.size >= 11);
    assert.deepEqual(
      [...names].filter((name) => METRICS[name] === undefined),
      [],
    );
  });

  it("has names with units, help texts, and closed sets of labels", () => {
    for (const [name, { type, help, labels, buckets }] of Object.entries(METRICS)) {
      assert.match(name, /^soci_(snapshotter|snapshots|layer|registry|fuse)_[a-z_]+$/);
      if (type === "counter") assert.match(name, /_total$/);
      if (type === "histogram") assert.ok(name.endsWith("_seconds") && buckets, name);
      assert.match(help, /[.0]$/, name);
      for (const values of Object.values(labels ?? {})) assert.ok(values.length <= 20, name);
    }
  });
});

describe("createMetrics()", () => {
  it("counts, observes and sets, and asks collectors before it shows", async () => {
    const metrics = createMetrics();
    metrics.count("soci_layer_fetched_bytes_total", 10);
    metrics.count("soci_layer_fetched_bytes_total");
    metrics.count("soci_snapshotter_rpcs_total", 1, { method: "Prepare", code: "OK" });
    metrics.observe("soci_snapshotter_mount_duration_seconds", 0.02);
    metrics.onCollect(() => metrics.set("soci_snapshotter_cache_bytes", 7));
    const text = await metrics.text();
    assert.match(text, /^soci_layer_fetched_bytes_total 11$/m);
    assert.match(text, /^soci_snapshotter_rpcs_total\{method="Prepare",code="OK"\} 1$/m);
    assert.match(text, /^soci_snapshotter_mount_duration_seconds_count 1$/m);
    assert.match(text, /^soci_snapshotter_cache_bytes 7$/m);
    assert.match(text, /^soci_snapshotter_resident_bytes \d{7,}$/m);
  });

  it("keeps the number of series closed, and survives slips", async () => {
    const metrics = createMetrics();
    for (let at = 0; at < 50; at += 1) {
      metrics.count("soci_snapshotter_fallbacks_total", 1, { kind: `sha256:${at}`, image: "x" });
    }
    metrics.count("soci_nonsense_total");
    metrics.count("soci_layer_requests_total", -1);
    metrics.set("soci_snapshotter_cache_bytes", Number.NaN);
    metrics.observe("soci_layer_requests_total", 1);
    const text = await metrics.text();
    assert.match(text, /^soci_snapshotter_fallbacks_total\{kind="other"\} 50$/m);
    assert.equal(text.match(/^soci_snapshotter_fallbacks_total\{/gm)!.length, 1);
    assert.match(text, /^soci_snapshotter_unknown_metrics_total 4$/m);
  });
});
