import assert from "node:assert/strict";
import { describe, it, type TestContext } from "node:test";
import { Trials } from "./trials.ts";

/** Suspects with two crashes. */
function suspects(
  ...keys: readonly bigint[]
): { readonly key: bigint; readonly crashes: number }[] {
  return keys.map((key) => ({ key, crashes: 2 }));
}

interface Followed {
  readonly trials: Trials;
  /** Those that have begun, in order. */
  readonly begun: bigint[];
  ask(...keys: readonly bigint[]): void;
  /** Lets time go by. */
  pass(ms: number): Promise<void>;
}

function follow(t: TestContext, trials: () => Trials): Followed {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const followed = trials();
  const begun: bigint[] = [];
  return {
    trials: followed,
    begun,
    ask: (...keys) => {
      for (const key of keys) {
        const turn = followed.turn(key);
        if (turn === undefined) begun.push(key);
        else void turn.then(() => begun.push(key));
      }
    },
    pass: async (ms) => {
      t.mock.timers.tick(ms);
      await new Promise((resolve) => setImmediate(resolve));
    },
  };
}

describe("Trials", () => {
  it("lets everybody begin where there are no suspects", (t) => {
    const { ask, begun } = follow(t, () => new Trials([]));
    ask(2n, 4n);
    assert.deepEqual(begun, [2n, 4n]);
  });

  it("has one suspect after the other, in order, and then all others", async (t) => {
    const { trials, ask, begun, pass } = follow(t, () => new Trials(suspects(6n, 2n)));
    ask(8n, 2n, 6n);
    await pass(0);
    assert.deepEqual(begun, [6n]);
    trials.done(6n);
    await pass(0);
    assert.deepEqual(begun, [6n, 2n]);
    trials.done(2n);
    await pass(0);
    assert.deepEqual(begun, [6n, 2n, 8n]);
    assert.equal(trials.turn(10n), undefined);
  });

  it("goes on beside a suspect that hangs, and so do the others", async (t) => {
    const { ask, begun, pass } = follow(t, () => new Trials(suspects(6n, 2n)));
    ask(8n, 6n, 2n);
    await pass(1999);
    assert.deepEqual(begun, [6n]);
    await pass(1);
    assert.deepEqual(begun.toSorted(), [2n, 6n, 8n].toSorted());
  });

  it("gives one that has crashed more servers more time alone", async (t) => {
    const { ask, begun, pass } = follow(t, () => new Trials([{ key: 6n, crashes: 4 }]));
    ask(8n, 6n);
    await pass(7999);
    assert.deepEqual(begun, [6n]);
    await pass(1);
    assert.deepEqual(begun, [6n, 8n]);
  });

  it("begins all of many in 20 seconds", async (t) => {
    const keys = Array.from({ length: 1000 }, (_, at) => BigInt(at + 1) * 2n);
    const { ask, begun, pass } = follow(t, () => new Trials(suspects(...keys)));
    ask(...keys);
    for (let turn = 0; turn < 1100; turn += 1) await pass(20);
    assert.equal(begun.length, 1000);
  });

  it("does not wait for a suspect that does not come, or that was given up while it waited", async (t) => {
    const { trials, ask, begun, pass } = follow(t, () => new Trials(suspects(2n, 4n, 6n)));
    ask(8n, 4n, 6n);
    trials.done(4n);
    await pass(500);
    assert.deepEqual(begun, [6n]);
    trials.done(6n);
    await pass(0);
    assert.deepEqual(begun, [6n, 8n]);
  });

  it("close() lets everybody begin", async (t) => {
    const { trials, ask, begun, pass } = follow(t, () => new Trials(suspects(2n, 4n)));
    ask(8n, 4n);
    trials.close();
    await pass(0);
    assert.deepEqual(begun, [4n, 8n]);
  });
});
