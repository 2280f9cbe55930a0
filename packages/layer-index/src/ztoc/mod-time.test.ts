import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { formatModTime, isModTime, parseModTime } from "./mod-time.ts";

const TIMES: [string, number, number][] = [
  ["1970-01-01T00:00:00Z", 0, 0],
  ["2020-09-13T12:26:40.1Z", 1_600_000_000, 100_000_000],
  ["2020-09-13T12:26:40.000000001Z", 1_600_000_000, 1],
  ["1969-12-31T23:59:58.75Z", -2, 750_000_000],
  ["0001-01-01T00:00:00Z", -62_135_596_800, 0],
  ["0000-01-01T00:00:00Z", -62_167_219_200, 0],
  ["9999-12-31T23:59:59.999999999Z", 253_402_300_799, 999_999_999],
];

describe("formatModTime() and parseModTime()", () => {
  for (const [text, seconds, nanoseconds] of TIMES) {
    it(`agree on ${text}`, () => {
      assert.equal(isModTime(seconds), true);
      assert.equal(formatModTime({ seconds, nanoseconds }), text);
      assert.deepEqual(parseModTime(text), { seconds, nanoseconds });
    });
  }
});

describe("isModTime()", () => {
  it("is false beyond the years 0 to 9999", () => {
    assert.equal(isModTime(-62_167_219_201), false);
    assert.equal(isModTime(253_402_300_800), false);
  });
});

describe("parseModTime()", () => {
  const zones: [string, number, number][] = [
    ["1970-01-01T01:00:00+01:00", 0, 0],
    ["1969-12-31T14:30:00.5-09:30", 0, 500_000_000],
    ["1970-01-01T00:00:00.1234567899Z", 0, 123_456_789],
  ];
  for (const [text, seconds, nanoseconds] of zones) {
    it(`reads ${text}`, () => assert.deepEqual(parseModTime(text), { seconds, nanoseconds }));
  }

  const bad = [
    "",
    "1970-01-01",
    "1970-01-01T00:00:00",
    "1970-13-01T00:00:00Z",
    "1970-01-01T25:00:00Z",
    "1970-01-01T00:00:00.Z",
    "+12345-01-01T00:00:00Z",
    "1970-01-01T00:00:00Z\n",
    `1970-01-01T00:00:00.${"0".repeat(99)}Z`,
  ];
  for (const text of bad) {
    it(`refuses ${JSON.stringify(text)}`, () => assert.equal(parseModTime(text), undefined));
  }
});
