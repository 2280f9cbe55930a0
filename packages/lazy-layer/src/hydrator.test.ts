import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { AppError, silentLogger } from "@soci-ts/core";
import { type HydrationCandidate, Hydrator, type HydratorOptions } from "./hydrator.ts";
import type { WholeVerdict } from "./whole-verdict.ts";

/** A clock that stands still unless somebody sleeps; it ends the test's hydrator at a set time. */
class TestClock {
  nowMs = 0;
  readonly #endMs: number;
  readonly #abort: AbortController;
  /** What happens at which time. */
  readonly #events: { readonly atMs: number; readonly happens: () => void }[] = [];

  constructor(endMs: number, abort: AbortController) {
    this.#endMs = endMs;
    this.#abort = abort;
  }

  now(): number {
    return this.nowMs;
  }

  at(atMs: number, happens: () => void): void {
    this.#events.push({ atMs, happens });
    this.#events.sort((a, b) => a.atMs - b.atMs);
  }

  async sleep(ms: number, signal: AbortSignal): Promise<void> {
    const until = this.nowMs + ms;
    for (;;) {
      const event = this.#events[0];
      if (event === undefined || event.atMs > until) break;
      this.#events.shift();
      this.nowMs = event.atMs;
      event.happens();
    }
    this.nowMs = until;
    if (this.nowMs >= this.#endMs) this.#abort.abort(new AppError("cancelled", "enough"));
    signal.throwIfAborted();
  }
}

/** A layer of some requests of bytes each. */
class FakeLayer {
  readonly id: number;
  left: number;
  verdict: WholeVerdict | undefined = "unknown";
  judgements: WholeVerdict[] = ["right"];
  failures: AppError[] = [];
  readonly #bench: Bench;

  constructor(id: number, requests: number, bench: Bench) {
    this.id = id;
    this.left = requests;
    this.#bench = bench;
  }

  get candidate(): HydrationCandidate {
    const layer = this;
    return {
      id: this.id,
      isComplete: this.left === 0,
      open: async () => ({
        get verdict() {
          return layer.verdict;
        },
        fetchAbsent: async () => this.#fetch(),
        judge: async () => {
          this.#bench.log(`judge ${this.id}`);
          this.verdict = this.judgements.shift() ?? "right";
          return this.verdict;
        },
        async [Symbol.asyncDispose]() {},
      }),
    };
  }

  #fetch(): number | undefined {
    if (this.left === 0) return undefined;
    this.#bench.log(`fetch ${this.id}`);
    const failure = this.failures.shift();
    if (failure !== undefined) throw failure;
    this.left -= 1;
    return REQUEST_BYTES;
  }
}

const REQUEST_BYTES = 1000;

interface Bench {
  readonly clock: TestClock;
  readonly layers: FakeLayer[];
  readonly seen: string[];
  readonly counts: Map<string, number>;
  log(what: string): void;
  run(options?: Partial<HydratorOptions>): Promise<void>;
}

function bench(endMs: number): Bench {
  const abort = new AbortController();
  const clock = new TestClock(endMs, abort);
  const layers: FakeLayer[] = [];
  const seen: string[] = [];
  const counts = new Map<string, number>();
  const wants = (layer: FakeLayer): boolean => layer.left > 0 || layer.verdict === "unknown";
  return {
    clock,
    layers,
    seen,
    counts,
    log: (what) => seen.push(`${clock.nowMs} ${what}`),
    run: async (options = {}) =>
      await new Hydrator({
        candidates: async () => layers.filter(wants).map(({ candidate }) => candidate),
        demand: { quietMs: Number.POSITIVE_INFINITY },
        maxBytesPerSecond: Number.POSITIVE_INFINITY,
        idleMs: 0,
        logger: silentLogger,
        metrics: { count: (name, n = 1) => counts.set(name, (counts.get(name) ?? 0) + n) },
        clock,
        ...options,
      }).run(abort.signal),
  };
}

describe("Hydrator", () => {
  it("completes one layer after the other, judges each, and counts", async () => {
    const at = bench(4000);
    at.layers.push(new FakeLayer(1, 2, at), new FakeLayer(2, 1, at), new FakeLayer(3, 0, at));
    await at.run({ maxBytesPerSecond: 1_000_000 });
    const order = at.seen.map((line) => line.replace(/^\S+ /, ""));
    assert.deepEqual(order, ["fetch 1", "fetch 1", "judge 1", "fetch 2", "judge 2", "judge 3"]);
    assert.equal(at.counts.get("soci_layer_hydrated_bytes_total"), 3 * REQUEST_BYTES);
    assert.equal(at.counts.get("soci_layer_hydrated_layers_total"), 2);
  });

  it("fetches no more bytes a second than it may", async () => {
    const at = bench(4600);
    at.layers.push(new FakeLayer(1, 100, at));
    await at.run({ maxBytesPerSecond: 500 });
    assert.deepEqual(at.seen, ["0 fetch 1", "2000 fetch 1", "4000 fetch 1"]);
  });

  it("waits while a read waits for the network, and for a while after", async () => {
    const at = bench(20_000);
    let waitsSince: number | undefined;
    let endedAt = Number.NEGATIVE_INFINITY;
    const demand = {
      get quietMs() {
        return waitsSince === undefined ? at.clock.nowMs - endedAt : 0;
      },
    };
    at.clock.at(500, () => {
      waitsSince = 500;
    });
    at.clock.at(7300, () => {
      waitsSince = undefined;
      endedAt = 7300;
    });
    at.layers.push(new FakeLayer(1, 3, at));
    await at.run({ demand, idleMs: 2000, maxBytesPerSecond: 1000 });
    assert.deepEqual(at.seen, ["0 fetch 1", "9300 fetch 1", "10300 fetch 1", "11300 judge 1"]);
  });

  it("leaves a layer that failed alone, for longer each time, and goes on with others", async () => {
    const at = bench(60_000);
    const failing = new FakeLayer(1, 1, at);
    failing.failures = Array.from({ length: 3 }, () => new AppError("unavailable", "no registry"));
    at.layers.push(failing, new FakeLayer(2, 1, at));
    await at.run();
    assert.deepEqual(
      at.seen.filter((line) => line.includes("fetch")),
      ["0 fetch 1", "0 fetch 2", "5000 fetch 1", "15000 fetch 1", "35000 fetch 1"],
    );
    assert.equal(failing.left, 0);
  });

  it("fetches nothing while the cache takes nothing, and judges what is whole all the same", async () => {
    const at = bench(30_000);
    let mayFetch = true;
    at.layers.push(new FakeLayer(1, 4, at), new FakeLayer(2, 0, at));
    at.clock.at(500, () => {
      mayFetch = false;
    });
    at.clock.at(12_000, () => {
      mayFetch = true;
    });
    await at.run({ mayFetch: () => mayFetch, maxBytesPerSecond: 1000 });
    const times = at.seen.map((line) => Number(line.split(" ")[0]));
    const fetched = at.seen.filter((line) => line.includes("fetch 1"));
    assert.equal(fetched.length, 4);
    assert.ok(!times.some((time) => time > 1000 && time < 12_000), at.seen.join());
    assert.ok(at.seen.includes("1000 judge 2"), at.seen.join());
  });

  it("judges again what could not be judged, and leaves alone what has no diffID", async () => {
    const at = bench(30_000);
    const changed = new FakeLayer(1, 0, at);
    changed.judgements = ["unknown", "wrong"];
    const unnamed = new FakeLayer(2, 1, at);
    unnamed.verdict = undefined;
    at.layers.push(changed, unnamed);
    await at.run();
    const judged = at.seen.filter((line) => line.includes("judge"));
    assert.equal(judged.length, 2, at.seen.join());
    assert.ok(judged.every((line) => line.includes("judge 1")));
    assert.equal(unnamed.left, 0);
  });
});
