import assert from "node:assert/strict";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, it } from "node:test";
import { AppError, delay, type Logger, silentLogger, silentMetrics } from "@soci-ts/core";
import type { SpanRange } from "@soci-ts/layer-index";
import type { HydratedLayer } from "@soci-ts/lazy-layer";
import { encodePrefetchList } from "@soci-ts/soci";
import { readPrefetchFile } from "../prefetch-file.ts";
import { temporary, until } from "../testing/temporary.ts";
import { prefetchPath } from "./prefetch-lists.ts";
import { SlotPrefetcher } from "./prefetch-slots.ts";

/** Layers of 100 spans, each of them ten bytes, fetched one by one; what is fetched is noted as `SLOT:SPAN`. */
class Bench {
  readonly fetched: string[] = [];
  readonly warnings: string[] = [];
  readonly ended = new AbortController();
  readonly prefetcher: SlotPrefetcher;
  quietMs = 1000;
  hasRoom = true;
  open = 0;
  failure: AppError | undefined;
  readonly #directory: string;

  constructor(directory: string) {
    this.#directory = directory;
    const logger: Logger = {
      ...silentLogger,
      warn: (text, fields) => this.warnings.push(`${text}: ${String(fields?.["error"] ?? "")}`),
    };
    const bench = this;
    this.prefetcher = new SlotPrefetcher({
      paths: { slots: directory },
      slots: {
        use: async (slot) => this.#layer(slot),
        get quietMs() {
          return bench.quietMs;
        },
      },
      mayFetch: () => this.hasRoom,
      signal: this.ended.signal,
      maxBytes: 200,
      logger,
      metrics: silentMetrics,
    });
  }

  directoryOf(slot: number): string {
    return join(this.#directory, String(slot));
  }

  async list(slot: number, ...ranges: readonly SpanRange[]): Promise<void> {
    const directory = this.directoryOf(slot);
    await mkdir(directory, { recursive: true });
    await writeFile(join(directory, "prefetch"), encodePrefetchList(ranges));
  }

  async hasList(slot: number): Promise<boolean> {
    return (await readPrefetchFile(prefetchPath(this.directoryOf(slot)))) !== undefined;
  }

  #layer(slot: number): HydratedLayer {
    this.open += 1;
    return {
      fetchAbsent: async (within) => {
        if (this.failure !== undefined) throw this.failure;
        for (let at = within?.startSpan ?? 0; at <= (within?.endSpan ?? 99); at += 1) {
          if (this.fetched.includes(`${slot}:${at}`)) continue;
          this.fetched.push(`${slot}:${at}`);
          return 10;
        }
        return undefined;
      },
      judge: async () => "unknown",
      verdict: undefined,
      [Symbol.asyncDispose]: async () => {
        this.open -= 1;
      },
    };
  }
}

async function benched(test: (bench: Bench) => Promise<void>): Promise<void> {
  await using scratch = await temporary();
  const bench = new Bench(scratch.path);
  try {
    await test(bench);
  } finally {
    bench.ended.abort();
  }
}

describe("SlotPrefetcher", () => {
  it("fetches what the list names and no more, one layer after the other, once", async () => {
    await benched(async (bench) => {
      await bench.list(1, { startSpan: 3, endSpan: 4 }, { startSpan: 9, endSpan: 9 });
      await bench.list(2, { startSpan: 0, endSpan: 1 });
      for (const slot of [1, 1, 2, 7]) bench.prefetcher.opened(slot);
      await until("all is fetched", async () => !(await bench.hasList(2)) && bench.open === 0);
      assert.deepEqual(bench.fetched, ["1:3", "1:4", "1:9", "2:0", "2:1"]);
      assert.ok(!(await bench.hasList(1)));
      bench.fetched.length = 0;
      bench.prefetcher.opened(1);
      await delay(50);
      assert.deepEqual([bench.fetched, bench.warnings], [[], []]);
    });
  });

  it("begins nothing while a read waits for the network", async () => {
    await benched(async (bench) => {
      await bench.list(1, { startSpan: 0, endSpan: 5 });
      bench.quietMs = 0;
      bench.prefetcher.opened(1);
      await delay(60);
      assert.deepEqual(bench.fetched, []);
      bench.quietMs = 100;
      await until("it goes on", () => bench.fetched.length === 6);
    });
  });

  it("stops at the limit of a layer, and forgets a list that is damaged", async () => {
    await benched(async (bench) => {
      await bench.list(1, { startSpan: 0, endSpan: 99 });
      bench.prefetcher.opened(1);
      await until("it stops", async () => !(await bench.hasList(1)) && bench.open === 0);
      assert.equal(bench.fetched.length, 20);
      await mkdir(bench.directoryOf(2));
      await writeFile(join(bench.directoryOf(2), "prefetch"), "{}");
      bench.prefetcher.opened(2);
      await until("it is said", () => bench.warnings.length === 2);
      assert.ok(!(await bench.hasList(2)));
    });
  });

  it("leaves the list for the next time if there is no room, or fetching fails", async () => {
    await benched(async (bench) => {
      await bench.list(1, { startSpan: 0, endSpan: 1 });
      bench.hasRoom = false;
      bench.prefetcher.opened(1);
      await until("it is said", () => bench.warnings.length === 1);
      bench.hasRoom = true;
      bench.failure = new AppError("unavailable", "away");
      await until("it can be opened again", async () => {
        bench.prefetcher.opened(1);
        return bench.warnings.length === 2;
      });
      assert.match(bench.warnings[1] ?? "", /away/);
      bench.failure = undefined;
      await until("it is fetched", async () => {
        bench.prefetcher.opened(1);
        return !(await bench.hasList(1));
      });
      assert.deepEqual(bench.fetched, ["1:0", "1:1"]);
      assert.equal(bench.open, 0);
    });
  });
});
