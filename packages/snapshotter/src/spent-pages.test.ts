import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { delay, type Logger, silentLogger } from "@soci-ts/core";
import type { PageRange } from "@soci-ts/fuse";
import { SpentPages, type SpentPagesOptions } from "./spent-pages.ts";

const MIB = 2 ** 20;

function rangeOf(nodeId: number, atMib: number, sizeMib = 1): PageRange {
  return { nodeId, offset: atMib * MIB, lengthBytes: sizeMib * MIB };
}

interface Bench {
  readonly spent: SpentPages;
  readonly forgotten: PageRange[];
  readonly answer: (range: PageRange) => Promise<string>;
}

function benched(options: Partial<SpentPagesOptions> = {}): Bench {
  const forgotten: PageRange[] = [];
  const forget = async (range: PageRange): Promise<boolean> => {
    forgotten.push(range);
    return true;
  };
  const spent = new SpentPages({ forget, logger: silentLogger, ...options });
  return { spent, forgotten, answer: (range) => spent.watch(range, async () => "bytes") };
}

describe("SpentPages", () => {
  it("drops the oldest pages when there are many, neighbours at once", async () => {
    const { forgotten, answer } = benched();
    for (let at = 0; at < 32; at += 1) assert.equal(await answer(rangeOf(5, at)), "bytes");
    await delay(1);
    assert.deepEqual(forgotten, []);
    await answer(rangeOf(6, 0));
    await delay(1);
    const expected = [0, 4, 8, 12, 16].map((at) => rangeOf(5, at, 4));
    assert.deepEqual(forgotten, expected, "what was answered last is kept");
  });

  it("drops all when it is quiet", async () => {
    const { forgotten, answer } = benched({ quietMs: 5 });
    await answer(rangeOf(5, 0));
    await answer(rangeOf(5, 8));
    for (let turn = 0; forgotten.length < 2 && turn < 200; turn += 1) await delay(5);
    assert.deepEqual(forgotten, [rangeOf(5, 0), rangeOf(5, 8)]);
  });

  it("drops none that is being read, and none of a read that failed", async () => {
    const { spent, forgotten, answer } = benched({ quietMs: 5 });
    await answer(rangeOf(5, 0));
    await answer(rangeOf(5, 2));
    let end = (_: string): void => {};
    const read = spent.watch(rangeOf(5, 2), () => new Promise<string>((done) => (end = done)));
    await answer(rangeOf(7, 2));
    await assert.rejects(
      spent.watch(rangeOf(8, 0), async () => Promise.reject(new Error("no bytes"))),
      /no bytes/,
    );
    for (let turn = 0; forgotten.length < 2 && turn < 200; turn += 1) await delay(5);
    await delay(20);
    assert.deepEqual(forgotten, [rangeOf(5, 0), rangeOf(7, 2)]);
    end("late");
    assert.equal(await read, "late");
    for (let turn = 0; forgotten.length < 3 && turn < 200; turn += 1) await delay(5);
    assert.deepEqual(forgotten.at(-1), rangeOf(5, 2));
  });

  it("says once that it can't be done, and leaves it", async () => {
    for (const forget of [async () => false, async () => Promise.reject(new Error("EIO"))]) {
      const warnings: string[] = [];
      const warn = (text: string): void => void warnings.push(text);
      const logger: Logger = { ...silentLogger, warn };
      const { answer } = benched({ forget, logger, quietMs: 1 });
      await answer(rangeOf(5, 0));
      for (let turn = 0; warnings.length < 1 && turn < 200; turn += 1) await delay(5);
      assert.equal(await answer(rangeOf(5, 9)), "bytes");
      await delay(10);
      assert.equal(warnings.length, 1);
    }
  });
});
