import assert from "node:assert/strict";
import { test } from "node:test";
import { delay } from "./delay.ts";
import { DisposeStack } from "./dispose-stack.ts";
import { Semaphore } from "./semaphore.ts";
import { SingleFlight } from "./single-flight.ts";

test("Semaphore.run() never lets more in than there are permits", async () => {
  const semaphore = new Semaphore(3);
  let inside = 0;
  let most = 0;
  await Promise.all(
    Array.from({ length: 20 }, () =>
      semaphore.run(async () => {
        inside += 1;
        most = Math.max(most, inside);
        await delay(1);
        inside -= 1;
      }),
    ),
  );
  assert.equal(most, 3);
});

test("Semaphore.run() gives the permit back when the work fails, and lets a waiter leave on abort", async () => {
  const semaphore = new Semaphore(1);
  await assert.rejects(
    semaphore.run(async () => Promise.reject(new Error("no"))),
    /no/,
  );

  let open = (): void => {};
  const gate = new Promise<void>((resolve) => {
    open = resolve;
  });
  const holder = semaphore.run(() => gate);
  const abort = new AbortController();
  const waiter = semaphore.run(async () => "in", abort.signal);
  abort.abort(new Error("left"));
  await assert.rejects(waiter, /left/);
  open();
  await holder;
  assert.equal(await semaphore.run(async () => "in"), "in");
});

test("SingleFlight.do() joins callers and shares a failure, then starts anew", async () => {
  const flights = new SingleFlight<number>();
  let runs = 0;
  const work = async (): Promise<number> => {
    runs += 1;
    await delay(2);
    return runs;
  };
  assert.deepEqual(await Promise.all([flights.do("a", work), flights.do("a", work)]), [1, 1]);
  assert.equal(await flights.do("a", work), 2);
  const fail = async (): Promise<number> => Promise.reject(new Error("once"));
  await assert.rejects(flights.do("b", fail), /once/);
  assert.equal(await flights.do("b", async () => 7), 7);
});

test("SingleFlight.do() aborts the work only when its last waiter has left", async () => {
  const flights = new SingleFlight<string>();
  let aborted = false;
  const work = (signal: AbortSignal): Promise<string> =>
    new Promise((resolve, reject) => {
      const timer = setTimeout(() => resolve("done"), 20);
      signal.addEventListener("abort", () => {
        aborted = true;
        clearTimeout(timer);
        reject(signal.reason);
      });
    });
  const first = new AbortController();
  const leaver = flights.do("k", work, first.signal);
  const stayer = flights.do("k", work);
  first.abort();
  await assert.rejects(leaver);
  assert.equal(await stayer, "done");
  assert.equal(aborted, false);
  const second = new AbortController();
  const alone = flights.do("k", work, second.signal);
  second.abort();
  await assert.rejects(alone);
  assert.equal(aborted, true);
});

test("DisposeStack closes in reverse order, once, also when one fails", async () => {
  const order: string[] = [];
  const stack = new DisposeStack();
  stack.defer(() => {
    order.push("first");
  });
  stack.defer(() => {
    order.push("second");
    throw new Error("second failed");
  });
  stack.use({
    [Symbol.asyncDispose]: async () => {
      order.push("third");
    },
  });
  await assert.rejects(stack[Symbol.asyncDispose](), /second failed/);
  await stack[Symbol.asyncDispose]();
  assert.deepEqual(order, ["third", "second", "first"]);
});

test("DisposeStack.move() leaves nothing behind", async () => {
  let closed = 0;
  const stack = new DisposeStack();
  stack.defer(() => {
    closed += 1;
  });
  const kept = stack.move();
  await stack[Symbol.asyncDispose]();
  assert.equal(closed, 0);
  await kept[Symbol.asyncDispose]();
  assert.equal(closed, 1);
});

test("delay() rejects with the signal's reason", async () => {
  const abort = new AbortController();
  const waiting = delay(10_000, abort.signal);
  abort.abort(new Error("enough"));
  await assert.rejects(waiting, /enough/);
});
