import assert from "node:assert/strict";
import { describe, it, mock } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import { atMinimumRate, MINIMUM_BYTES_PER_S, PATIENCE_MS } from "./minimum-rate.ts";

/** A body whose pieces come when they are given; says whether its reader let go of it. */
class GivenBody {
  isReturned = false;
  #give = (_piece: Uint8Array | undefined): void => {};

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array, void> {
    try {
      for (;;) {
        const piece = await new Promise<Uint8Array | undefined>((resolve) => {
          this.#give = resolve;
        });
        if (piece === undefined) return;
        yield piece;
      }
    } finally {
      this.isReturned = true;
    }
  }

  async give(sizeBytes: number | undefined): Promise<void> {
    this.#give(sizeBytes === undefined ? undefined : new Uint8Array(sizeBytes));
    await turn();
  }
}

/** Reads in the background; `take` may hold the reader up. */
function read(body: GivenBody, take: () => Promise<void> = async () => {}) {
  const read = { sizeBytes: 0, ended: undefined as Promise<unknown> | undefined };
  read.ended = (async () => {
    for await (const piece of atMinimumRate(body)) {
      read.sizeBytes += piece.length;
      await take();
    }
  })().catch((error: unknown) => error);
  return read;
}

describe("atMinimumRate()", { concurrency: false }, () => {
  const seconds = (count: number): void => {
    for (let n = 0; n < count; n += 1) mock.timers.tick(1_000);
  };
  const withTimers = async (work: () => Promise<void>): Promise<void> => {
    mock.timers.enable({ apis: ["setInterval"] });
    try {
      await work();
    } finally {
      mock.timers.reset();
    }
  };
  const patienceS = PATIENCE_MS / 1_000;

  it("gives a body as it is, and lets go of it at its end", () =>
    withTimers(async () => {
      const body = new GivenBody();
      const reading = read(body);
      await turn();
      await body.give(10);
      await body.give(20);
      await body.give(undefined);
      assert.equal(await reading.ended, undefined);
      assert.equal(reading.sizeBytes, 30);
      assert.equal(body.isReturned, true);
    }));

  it("gives up a body of which nothing comes", () =>
    withTimers(async () => {
      const body = new GivenBody();
      const reading = read(body);
      await turn();
      seconds(patienceS - 1);
      await body.give(1);
      seconds(2);
      const error = await reading.ended;
      assert.equal((error as { code?: string }).code, "deadline_exceeded");
      assert.equal(reading.sizeBytes, 1);
    }));

  it("goes on as long as a body brings what it must", () =>
    withTimers(async () => {
      const body = new GivenBody();
      const reading = read(body);
      await turn();
      for (let round = 0; round < 10; round += 1) {
        seconds(patienceS - 1);
        await body.give(patienceS * MINIMUM_BYTES_PER_S);
      }
      await body.give(undefined);
      assert.equal(await reading.ended, undefined);
    }));

  it("does not lay to a body's charge what its reader takes", () =>
    withTimers(async () => {
      const body = new GivenBody();
      let goOn = (): void => {};
      const reading = read(
        body,
        () =>
          new Promise((resolve) => {
            goOn = resolve;
          }),
      );
      await turn();
      await body.give(1);
      seconds(10 * patienceS);
      goOn();
      await turn();
      await body.give(undefined);
      assert.equal(await reading.ended, undefined);
    }));

  it("lets go of a body whose reader stops, and passes its failure on", () =>
    withTimers(async () => {
      const body = new GivenBody();
      const reading = read(body, () => Promise.reject(new Error("enough")));
      await turn();
      await body.give(1);
      assert.match(String(await reading.ended), /enough/);
      assert.equal(body.isReturned, true);
    }));
});
