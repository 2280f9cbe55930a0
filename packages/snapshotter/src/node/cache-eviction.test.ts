import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { AppError, silentLogger } from "@soci-ts/core";
import { CacheEviction, type ClosedLayer, type EvictionGround } from "./cache-eviction.ts";
import { CountingMetrics } from "./counting-metrics.ts";
import type { OpenCache } from "./disk-slots.ts";

const MB = 1_000_000;

/** A disk of layers in memory, and a clock. What goes is written down, in order. */
class Ground implements EvictionGround {
  nowMs = 1_000_000;
  otherBytes = 0;
  diskBytes = 1000 * MB;
  measurements = 0;
  searches = 0;
  readonly gone: string[] = [];
  readonly closed: (Omit<ClosedLayer, "remove" | "open"> & {
    readonly name: string;
    sizeBytes: number;
    readonly cache?: OpenCache;
  })[] = [];
  readonly open: OpenCache[] = [];
  spanBytes = 0;
  punchHole: EvictionGround["punchHole"] = async () => {};

  /** Spans of 1 MB each that were last used so many ms ago; `Infinity`: not since the layer was opened. */
  cache(name: string, layerAgeMs: number, ages: readonly number[]): OpenCache {
    const present = new Map(ages.map((age, span) => [span, age]));
    this.spanBytes += ages.length * MB;
    return {
      usedAtMs: this.nowMs - layerAgeMs,
      cache: {
        cachedSpans: () =>
          [...present].map(([span, age]) => ({
            span,
            usedAtMs: age === Number.POSITIVE_INFINITY ? 0 : this.nowMs - age,
          })),
        evictSpan: async (span) => {
          present.delete(span);
          this.spanBytes -= MB;
          this.gone.push(`${name}.${span}`);
          return { chunks: 16, sizeBytes: MB };
        },
        reclaimStrays: async () => 0,
      },
    };
  }

  #allocated(): number {
    return this.spanBytes + this.closed.reduce((total, { sizeBytes }) => total + sizeBytes, 0);
  }

  async allocatedBytes(): Promise<number> {
    this.measurements += 1;
    return this.#allocated();
  }

  async freeBytes(): Promise<number> {
    return this.diskBytes - this.otherBytes - this.#allocated();
  }

  async closedLayers(): Promise<readonly ClosedLayer[]> {
    this.searches += 1;
    return this.closed.map((layer) => ({
      ...layer,
      remove: async () => {
        const { sizeBytes } = layer;
        layer.sizeBytes = 0;
        if (sizeBytes > 0) this.gone.push(layer.name);
        return sizeBytes;
      },
      open: async () => layer.cache,
    }));
  }

  openCaches(): readonly OpenCache[] {
    return this.open;
  }
}

function evictionOf(ground: Ground, quotaBytes: number, minFreeBytes = 0) {
  const metrics = new CountingMetrics();
  const eviction = new CacheEviction({
    ground,
    limits: { quotaBytes, minFreeBytes },
    logger: silentLogger,
    metrics,
    now: () => ground.nowMs,
  });
  return { eviction, metrics };
}

/** Layers of each kind; 40 MB in all. */
function mixedGround(): Ground {
  const ground = new Ground();
  const add = (name: string, ageMs: number, how: Partial<ClosedLayer>): void => {
    const usedAtMs = ground.nowMs - ageMs;
    const own = { name, sizeBytes: 5 * MB, usedAtMs, isMounted: false, isLastResort: false };
    ground.closed.push({ ...own, ...how });
  };
  add("young", 40_000, {});
  add("zstd", 900_000, { isLastResort: true });
  add("old", 500_000, {});
  add("just now", 1000, {});
  ground.closed.push({
    name: "mounted",
    sizeBytes: 0,
    usedAtMs: ground.nowMs - 300_000,
    isMounted: true,
    isLastResort: false,
    cache: ground.cache("m", 300_000, Array(5).fill(Number.POSITIVE_INFINITY)),
  });
  ground.open.push(
    ground.cache("a", 31_000, [50_000, 1000, 70_000, 29_000, Number.POSITIVE_INFINITY]),
  );
  ground.open.push(ground.cache("b", 1000, [60_000, 40_000, 80_000, 2000, 3000]));
  return ground;
}

describe("CacheEviction", () => {
  it("gives up the least recently used, kind by kind, and what was read lately never", async () => {
    const ground = mixedGround();
    const { eviction, metrics } = evictionOf(ground, 0);
    const evicted = await eviction.evictNow({ all: true });
    const mounted = ["m.0", "m.1", "m.2", "m.3", "m.4"];
    const open = ["b.2", "a.2", "b.0", "a.0", "b.1", "a.4"];
    assert.deepEqual(ground.gone, ["old", "young", ...mounted, ...open, "zstd"]);
    assert.deepEqual(evicted, { layers: 3, chunks: 11 * 16, sizeBytes: 26 * MB });
    assert.deepEqual(metrics.counts(), {
      soci_layer_evicted_bytes_total: 26 * MB,
      soci_layer_evicted_chunks_total: 11 * 16,
    });
    assert.deepEqual(eviction.last, { atMs: ground.nowMs, sizeBytes: 26 * MB });
    const again = await eviction.evictNow({ all: true });
    assert.deepEqual(again, { layers: 0, chunks: 0, sizeBytes: 0 });
  });

  it("keeps what was read shortly before its layer was opened, as by a server that a kill ended", async () => {
    const ground = new Ground();
    const spans = [Number.POSITIVE_INFINITY, 40_000, Number.POSITIVE_INFINITY];
    ground.open.push(ground.cache("recent", 1000, spans), ground.cache("old", 50_000, spans));
    await evictionOf(ground, 0).eviction.evictNow({ all: true });
    assert.deepEqual(ground.gone, ["old.0", "old.2", "recent.1", "old.1"]);
  });

  it("stops as soon as it is nine tenths down", async () => {
    const ground = mixedGround();
    const { eviction } = evictionOf(ground, 30 * MB);
    await eviction.look();
    // 35 MB are there, 27 are wanted.
    assert.deepEqual(ground.gone, ["old", "young"]);
    ground.gone.length = 0;
    await eviction.look();
    assert.deepEqual(ground.gone, []);
  });

  it("gives up mounted layers that nobody reads as a whole where there are no holes, open ones never", async () => {
    const ground = mixedGround();
    const mounted = ground.closed.find(({ name }) => name === "mounted");
    if (mounted !== undefined) mounted.sizeBytes = 5 * MB;
    ground.punchHole = undefined;
    await evictionOf(ground, 0).eviction.evictNow({ all: true });
    assert.deepEqual(ground.gone, ["old", "young", "mounted", "zstd"]);
  });

  it("looks as soon as what was written may be too much, not before", async () => {
    const ground = mixedGround();
    const { eviction } = evictionOf(ground, 50 * MB);
    await eviction.look();
    assert.equal(ground.measurements, 1);
    eviction.wrote(10 * MB);
    await eviction.look();
    assert.equal(ground.measurements, 1, "45 MB at most are there");
    assert.equal(eviction.hasRoom(), false, "nobody needs more read ahead");
    ground.closed[0]!.sizeBytes += 16 * MB;
    eviction.wrote(6 * MB);
    await eviction.look();
    assert.ok(ground.measurements > 1);
    assert.deepEqual(ground.gone, ["old", "young"]);
    assert.equal(eviction.hasRoom(), true);
    ground.closed[3]!.sizeBytes += 100 * MB;
    ground.nowMs += 31_000;
    await eviction.look();
    assert.ok(ground.gone.length > 2, "others write too, so it looks now and then");
  });

  it("keeps space free on the disk, and does not count files for that", async () => {
    const ground = mixedGround();
    ground.otherBytes = 960 * MB;
    const { eviction } = evictionOf(ground, 0, 10 * MB);
    await eviction.look();
    // 5 MB are free, 11 are wanted.
    assert.deepEqual(ground.gone, ["old", "young"]);
    assert.equal(ground.measurements, 0);
    assert.equal(eviction.hasRoom(), true);
  });

  it("makes room at once for a write that found the disk full", async () => {
    const ground = mixedGround();
    const { eviction } = evictionOf(ground, 0);
    await eviction.look();
    assert.equal(ground.searches, 0);
    eviction.full();
    assert.equal(eviction.hasRoom(), false);
    await eviction.look();
    assert.ok(ground.gone.includes("zstd"));
  });

  it("does not search again at once if everything was read lately", async () => {
    const ground = new Ground();
    ground.open.push(ground.cache("a", 0, Array(20).fill(1000)));
    const { eviction } = evictionOf(ground, 10 * MB);
    for (let turn = 0; turn < 5; turn += 1) await eviction.look();
    assert.deepEqual([ground.searches, ground.gone], [1, []]);
    ground.nowMs += 20_000;
    await eviction.look();
    assert.equal(ground.searches, 2);
    ground.nowMs += 20_000;
    ground.open.length = 0;
    ground.open.push(ground.cache("b", 0, Array(20).fill(31_000)));
    await eviction.look();
    assert.ok(ground.gone.length > 0);
  });

  it("outlives a disk that can't be read, and stops when it is closed", async () => {
    const ground = mixedGround();
    const { eviction } = evictionOf(ground, MB);
    ground.freeBytes = async () => {
      throw new AppError("data_loss", "EIO");
    };
    await eviction.look();
    await assert.rejects(eviction.evictNow({ all: true }), { code: "data_loss" });
    await eviction.close();
    ground.freeBytes = async () => 0;
    await eviction.look();
    assert.deepEqual(ground.gone, []);
  });
});
