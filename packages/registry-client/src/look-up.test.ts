import assert from "node:assert/strict";
import type { lookup } from "node:dns";
import { test } from "node:test";
import { sharedLookup } from "./look-up.ts";

test("sharedLookup() asks for a name once at a time, and tells all who wait", async () => {
  const asked: string[] = [];
  let answer: (address: string) => void = () => {};
  const resolve = ((name: string, _options: object, callback: (...all: unknown[]) => void) => {
    asked.push(name);
    answer = (address) => callback(null, address, 4);
  }) as unknown as typeof lookup;
  const look = sharedLookup(resolve);
  const find = (name: string): Promise<unknown> =>
    new Promise((found) => look(name, {}, (_error, address) => found(address)));
  const both = Promise.all([find("registry.test"), find("registry.test")]);
  assert.deepEqual(asked, ["registry.test"]);
  answer("192.0.2.1");
  assert.deepEqual(await both, ["192.0.2.1", "192.0.2.1"]);
  const again = find("registry.test");
  assert.equal(asked.length, 2, "nothing is remembered");
  answer("192.0.2.2");
  assert.equal(await again, "192.0.2.2");
});
