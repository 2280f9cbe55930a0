import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { parseContentRange, parseRange } from "./range.ts";

describe("parseRange()", () => {
  const rows: [
    header: string | undefined,
    sizeBytes: number,
    want: ReturnType<typeof parseRange>,
  ][] = [
    [undefined, 100, undefined],
    ["bytes=0-0", 100, { start: 0, end: 1 }],
    ["bytes=10-19", 100, { start: 10, end: 20 }],
    ["Bytes=10-19", 100, { start: 10, end: 20 }],
    ["bytes=90-", 100, { start: 90, end: 100 }],
    ["bytes=90-1000", 100, { start: 90, end: 100 }],
    ["bytes=-10", 100, { start: 90, end: 100 }],
    ["bytes=-1000", 100, { start: 0, end: 100 }],
    ["bytes=100-", 100, "unsatisfiable"],
    ["bytes=100-200", 100, "unsatisfiable"],
    ["bytes=-0", 100, "unsatisfiable"],
    ["bytes=20-10", 100, "unsatisfiable"],
    ["bytes=0-", 0, "unsatisfiable"],
    ["bytes=-", 100, undefined],
    ["bytes=0-1,5-6", 100, undefined],
    ["items=0-1", 100, undefined],
    ["bytes=a-b", 100, undefined],
    [`bytes=0-${",0-".repeat(5_000)}`, 100, undefined],
    [`bytes=${"9".repeat(400)}-`, 100, "unsatisfiable"],
    [`bytes=5-${"9".repeat(400)}`, 100, { start: 5, end: 100 }],
    [`bytes=-${"9".repeat(20)}`, 100, { start: 0, end: 100 }],
    ["bytes=18446744073709551615-18446744073709551616", 100, "unsatisfiable"],
    ["bytes=-18446744073709551615", 0, "unsatisfiable"],
    ["bytes=0x1-2", 100, undefined],
    ["bytes=1e1-20", 100, undefined],
    ["bytes=0--1", 100, undefined],
  ];
  for (const [header, sizeBytes, want] of rows) {
    it(`reads ${String(header).slice(0, 40)} of ${sizeBytes}`, () => {
      assert.deepEqual(parseRange(header, sizeBytes), want);
    });
  }
});

describe("parseContentRange()", () => {
  const rows: [header: string | undefined, want: ReturnType<typeof parseContentRange>][] = [
    [undefined, undefined],
    ["0-9", { start: 0, end: 10 }],
    [" 10-10 ", { start: 10, end: 11 }],
    ["bytes 0-9/*", { start: 0, end: 10 }],
    ["bytes 0-9/100", { start: 0, end: 10 }],
    ["9-0", "invalid"],
    ["0-", "invalid"],
    ["bytes */100", "invalid"],
    ["-5", "invalid"],
    ["", "invalid"],
    [`0-${"9".repeat(30)}`, "invalid"],
    ["0-18446744073709551615", "invalid"],
    ["0-9,10-19", "invalid"],
  ];
  for (const [header, want] of rows) {
    it(`reads ${JSON.stringify(header)}`, () => assert.deepEqual(parseContentRange(header), want));
  }
});
