import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { AppError } from "@soci-ts/core";
import { seededRandom } from "@soci-ts/testkit";
import { encodePrefetchList, parsePrefetchList } from "./prefetch-list.ts";
import { failure } from "./testing/fixtures.ts";

const range = (startSpan: number, endSpan: number) => ({ startSpan, endSpan });
const textOf = (value: unknown): Uint8Array => Buffer.from(JSON.stringify(value));
const spans = (...items: unknown[]): Uint8Array =>
  textOf({ version: "1.0", prefetch_spans: items });

describe("encodePrefetchList()", () => {
  it("writes what Go would, sorted, and one range where ranges touch or overlap", () => {
    const bytes = encodePrefetchList([
      range(50, 55),
      range(2, 3),
      range(12, 15),
      range(10, 13),
      range(4, 4),
      range(0, 0),
      range(50, 51),
    ]);
    const expected =
      '{"version":"1.0","prefetch_spans":[{"start_span":0,"end_span":0},{"start_span":2,"end_span":4},{"start_span":10,"end_span":15},{"start_span":50,"end_span":55}]}';
    assert.equal(Buffer.from(bytes).toString(), expected);
    assert.deepEqual(parsePrefetchList(bytes), [
      range(0, 0),
      range(2, 4),
      range(10, 15),
      range(50, 55),
    ]);
  });
});

describe("parsePrefetchList()", () => {
  it("takes unsorted ranges, priorities, and numbers that Go left out", () => {
    const bytes = spans({ start_span: 7, end_span: 9, priority: 3 }, { end_span: 1 });
    assert.deepEqual(parsePrefetchList(bytes), [range(0, 1), range(7, 9)]);
  });

  it("refuses what is no list", () => {
    const bad: readonly [Uint8Array, RegExp][] = [
      [spans(), /names no spans/],
      [textOf({ version: "1.0" }), /prefetch_spans/],
      [textOf({ version: "2.0", prefetch_spans: [{}] }), /version "2.0"/],
      [spans({ start_span: 3, end_span: 2 }), /from 3 to 2/],
      [spans({ start_span: 0, end_span: 2 ** 31 }), /want a range/],
      [spans({ start_span: -1, end_span: 2 }), /is -1/],
      [spans({ start_span: 0.5, end_span: 2 }), /is 0.5/],
      [spans("0-2"), /want an object/],
      [spans(...Array.from({ length: 16_385 }, () => ({}))), /at most 16384/],
      [new Uint8Array(1_048_577).fill(0x20), /at most 1048576/],
    ];
    for (const [bytes, message] of bad)
      assert.throws(() => parsePrefetchList(bytes), failure("data_loss", message));
  });

  it("gives a list or an error for any damaged bytes", () => {
    const whole = spans({ start_span: 1, end_span: 20 }, { start_span: 30, end_span: 44 });
    const random = seededRandom(11);
    const tryParse = (bytes: Uint8Array): void => {
      try {
        parsePrefetchList(bytes);
      } catch (error) {
        assert.ok(error instanceof AppError, String(error));
      }
    };
    for (let length = 0; length < whole.length; length += 1) tryParse(whole.subarray(0, length));
    for (let turn = 0; turn < 3_000; turn += 1) {
      const bytes = Uint8Array.from(whole);
      bytes[Math.floor(random() * bytes.length)] = Math.floor(random() * 256);
      tryParse(bytes);
    }
  });
});
