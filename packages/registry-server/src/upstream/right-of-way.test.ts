import assert from "node:assert/strict";
import { EventEmitter, once } from "node:events";
import { describe, it } from "node:test";
import { delay } from "@soci-ts/core";
import { RightOfWay, type Waitable } from "./right-of-way.ts";

const never = { mostMs: 250, signal: new AbortController().signal };

function rest(): Waitable & { awaited: boolean; readonly events: EventEmitter } {
  const events = new EventEmitter();
  const value = {
    awaited: false,
    events,
    isAwaited: () => value.awaited,
    onceAwaited: (signal: AbortSignal) => once(events, "awaited", { signal }),
  };
  return value;
}

async function took(work: Promise<unknown>): Promise<number> {
  const started = performance.now();
  await work;
  return performance.now() - started;
}

describe("RightOfWay.clear()", () => {
  it("waits for nothing where nothing is urgent, or somebody waits", async () => {
    const way = new RightOfWay();
    assert.ok((await took(way.clear(rest(), never))) < 100);
    const leave = way.enter();
    assert.ok((await took(way.clear({ ...rest(), isAwaited: () => true }, never))) < 100);
    leave();
  });

  it("waits while something is urgent and a while after it, but not for long", async () => {
    const way = new RightOfWay();
    const leave = way.enter();
    assert.ok((await took(way.clear(rest(), never))) > 200);
    leave();
    assert.ok((await took(way.clear(rest(), never))) > 200);
  });

  it("ends as soon as somebody begins to wait, and on abort", async () => {
    const way = new RightOfWay();
    way.enter();
    const waited = rest();
    const cleared = took(way.clear(waited, never));
    await delay(5);
    waited.awaited = true;
    waited.events.emit("awaited");
    assert.ok((await cleared) < 200);
    const abort = new AbortController();
    const aborted = way.clear(rest(), { mostMs: 250, signal: abort.signal });
    abort.abort();
    await assert.rejects(aborted);
  });
});
