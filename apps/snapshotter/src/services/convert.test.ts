import assert from "node:assert/strict";
import { test } from "node:test";
import { timestampToProto } from "./convert.ts";

const times: readonly (readonly [string, number, number])[] = [
  ["1970-01-01T00:00:00.000Z", 0, 0],
  ["2026-07-01T12:00:00.123Z", 1_782_907_200, 123_000_000],
  ["1969-12-31T23:59:59.750Z", -1, 750_000_000],
];
for (const [text, seconds, nanos] of times) {
  test(`timestampToProto() of ${text}`, () => {
    assert.deepEqual(timestampToProto(new Date(text)), { seconds, nanos });
  });
}
