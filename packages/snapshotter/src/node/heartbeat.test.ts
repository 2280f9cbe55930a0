import assert from "node:assert/strict";
import { PassThrough } from "node:stream";
import { describe, it } from "node:test";
import { delay } from "@soci-ts/core";
import { until } from "../testing/temporary.ts";
import { BeatWatch } from "./heartbeat.ts";

describe("BeatWatch", () => {
  const watched = (): {
    readonly pipe: PassThrough;
    readonly watch: BeatWatch;
    readonly seen: { ticks: number; missed: number };
  } => {
    const pipe = new PassThrough();
    const seen = { ticks: 0, missed: 0 };
    const onTick = (): void => {
      seen.ticks += 1;
    };
    const onMissed = (): void => {
      seen.missed += 1;
    };
    const watch = new BeatWatch(pipe, { tickMs: 2, onTick, onMissed });
    return { pipe, watch, seen };
  };

  it("misses beats after twenty ticks without, once, and has more patience with a start", async () => {
    const { pipe, watch, seen } = watched();
    await until("a start that takes long", () => seen.ticks > 40);
    assert.equal(seen.missed, 0);
    pipe.write(".");
    await delay(0);
    const beatenAt = seen.ticks;
    await until("the beat is missed", () => seen.missed > 0);
    assert.ok(seen.ticks - beatenAt >= 19, `${seen.ticks - beatenAt} ticks`);
    await until("more ticks", () => seen.ticks > beatenAt + 60);
    assert.equal(seen.missed, 1);
    assert.equal(watch.faulted, false);
    watch.stop();
  });

  it("misses no start for ever, hears a fault, and stops", async () => {
    const { pipe, watch, seen } = watched();
    await until("the start is given up", () => seen.missed > 0);
    assert.ok(seen.ticks >= 90);
    pipe.write(".!");
    await until("the fault is heard", () => watch.faulted);
    watch.stop();
    const { ticks } = seen;
    await delay(20);
    assert.equal(seen.ticks, ticks);
  });
});
