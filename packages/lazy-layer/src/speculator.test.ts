import assert from "node:assert/strict";
import { it } from "node:test";
import { Speculator } from "./speculator.ts";

it("Speculator guesses when nothing waits, and one thing at a time", async () => {
  const speculator = new Speculator();
  const started: string[] = [];
  const ends: (() => void)[] = [];
  const guess = (name: string) => () => {
    started.push(name);
    return new Promise<void>((resolve) => ends.push(resolve));
  };
  speculator.demandBegins();
  speculator.demandBegins();
  speculator.demandEnds(guess("while another waits"));
  speculator.demandEnds(guess("first"));
  speculator.demandBegins();
  speculator.demandEnds(guess("while the first runs"));
  ends[0]?.();
  await Promise.resolve();
  speculator.demandBegins();
  speculator.demandEnds(() => undefined);
  speculator.demandBegins();
  speculator.demandEnds(guess("second"));
  assert.deepEqual(started, ["first", "second"]);
});

it("Speculator tells for how long no read has waited", () => {
  let now = 100;
  const speculator = new Speculator(() => now);
  assert.equal(speculator.quietMs, Number.POSITIVE_INFINITY);
  speculator.demandBegins();
  speculator.demandBegins();
  now = 150;
  speculator.demandEnds(() => undefined);
  assert.equal(speculator.quietMs, 0);
  speculator.demandEnds(() => undefined);
  now = 170;
  assert.equal(speculator.quietMs, 20);
});
