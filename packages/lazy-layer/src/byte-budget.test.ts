import assert from "node:assert/strict";
import { test } from "node:test";
import { ByteBudget } from "./byte-budget.ts";

const NEVER = new AbortController().signal;

test("ByteBudget admits in order, while there is room, and one alone may be larger", async () => {
  const budget = new ByteBudget(100);
  const order: string[] = [];
  const enter = async (name: string, bytes: number): Promise<() => void> => {
    const release = await budget.acquire(bytes, NEVER);
    order.push(name);
    return release;
  };
  const first = await enter("first", 60);
  const second = enter("second", 1000);
  const third = enter("third", 10);
  await new Promise(setImmediate);
  assert.deepEqual(order, ["first"]);
  first();
  (await second)();
  (await third)();
  assert.deepEqual(order, ["first", "second", "third"]);
});

test("ByteBudget lets an aborted waiter go, and those behind it in", async () => {
  const budget = new ByteBudget(100);
  const release = await budget.acquire(50, NEVER);
  const abort = new AbortController();
  const large = budget.acquire(100, abort.signal);
  const small = budget.acquire(50, NEVER);
  abort.abort(new Error("enough"));
  await assert.rejects(large, /enough/);
  (await small)();
  release();
  await assert.rejects(budget.acquire(1, abort.signal), /enough/);
});
