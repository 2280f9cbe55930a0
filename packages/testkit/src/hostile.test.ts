import assert from "node:assert/strict";
import { test } from "node:test";
import { succeeds } from "./hostile.ts";
import { HOSTILE_READERS, mutationsOf } from "./hostile-readers.ts";
import { mutate } from "./mutate.ts";
import { seededBytes, seededRandom } from "./tar-builder.ts";

const SEED = seededBytes(500, 1);

/** An error in the shape of the project's. */
function typed(code: string, fields: object = {}): Error {
  return Object.assign(new Error("x"), { code, details: {}, ...fields });
}

test("mutate() gives the same for the same seed, other bytes for other ones, and leaves its input alone", () => {
  const before = Buffer.from(SEED);
  const some = (seed: number): string[] => {
    const random = seededRandom(seed);
    return Array.from({ length: 50 }, () => Buffer.from(mutate(SEED, random)).toString("hex"));
  };
  assert.deepEqual(some(1), some(1));
  assert.notDeepEqual(some(1), some(2));
  assert.ok(new Set(some(1)).size > 45);
  assert.deepEqual(Buffer.from(SEED), before);
});

test("mutate() shortens, lengthens and changes in place, mostly where fields are, also of next to nothing", () => {
  const random = seededRandom(7);
  const lengths = { less: 0, same: 0, more: 0 };
  let hot = 0;
  for (let round = 0; round < 2_000; round += 1) {
    const bytes = mutate(SEED, random, { hot: [[100, 110]], tokens: ["token"], others: [SEED] });
    if (bytes.length === SEED.length) lengths.same += 1;
    else lengths[bytes.length < SEED.length ? "less" : "more"] += 1;
    if (bytes.subarray(100, 110).some((byte, at) => byte !== SEED[100 + at])) hot += 1;
  }
  for (const count of Object.values(lengths)) assert.ok(count > 200, JSON.stringify(lengths));
  assert.ok(hot > 1_200, `${hot}`);
  for (let length = 0; length < 5; length += 1)
    for (let round = 0; round < 200; round += 1) mutate(SEED.subarray(0, length), random);
});

test("succeeds() tells an answer to bad input from a fault", () => {
  const fails = (error: unknown) => () => {
    throw error;
  };
  assert.equal(
    succeeds(() => 1),
    true,
  );
  assert.equal(succeeds(fails(typed("data_loss"))), false);
  assert.equal(succeeds(fails(typed("data_loss", { name: "FormatError", offset: 0 }))), false);
  assert.equal(succeeds(fails(typed("failed_precondition")), ["failed_precondition"]), false);
  const faults = [
    typed("failed_precondition"),
    typed("internal"),
    typed("data_loss", { name: "FormatError" }),
    typed("data_loss", { name: "FormatError", offset: 0.5 }),
    new RangeError("x"),
    "text",
  ];
  for (const fault of faults) assert.throws(() => succeeds(fails(fault)));
});

test("the readers get 100,000 mutations by default, and a share of what the run is asked for", () => {
  const sum = Object.values(HOSTILE_READERS).reduce((total, share) => total + share, 0);
  assert.ok(sum >= 100_000, `${sum}`);
  assert.throws(() => mutationsOf("none such"), /none such/);
});
