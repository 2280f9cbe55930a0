import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { FormatError } from "@soci-ts/core";
import { parsePaxRecords, parsePaxTime } from "./pax.ts";

describe("parsePaxRecords()", () => {
  it("keeps values as they are, the last of equal keys and empty ones included", () => {
    const text = "11 user=\xff\x00\n9 user=\xfe\n11 path=ab\n8 foo==\n7 bar=\n11 x=a\n=b\n\n";
    const records = parsePaxRecords(Buffer.from(text, "latin1"), 0);
    assert.deepEqual(
      [...records],
      [
        ["user", "\xfe"],
        ["path", "ab"],
        ["foo", "="],
        ["bar", ""],
        ["x", "a\n=b\n"],
      ],
    );
  });

  const bad: [string, string][] = [
    ["without a space", "11"],
    ["without a length", " a=b\n"],
    ["with letters in the length", "x a=b\n"],
    ["with a negative length", "-6 a=b\n"],
    ["longer than the header", "99 a=b\n"],
    ["shorter than its own length field", "00000000000000006 a=b\n"],
    ["too short to be one", "4 a\n"],
    ["without a newline", "6 a=bc"],
    ["without a key", "6 =ab\n"],
    ["without an equals sign", "6 abc\n"],
    ["with a NUL in the path", "11 path=a\x00\n"],
    ["with a NUL in the key", "7 a\x00=b\n"],
    ["followed by padding", "6 a=b\n\0\0"],
  ];
  for (const [name, text] of bad) {
    it(`refuses a record ${name}`, () => {
      assert.throws(
        () => parsePaxRecords(Buffer.from(text, "latin1"), 512),
        (error) => error instanceof FormatError && error.offset >= 512 && error.offset < 1024,
      );
    });
  }

  it("takes a length with a plus sign and leading zeros, as Go does", () => {
    assert.equal(parsePaxRecords(Buffer.from("+0010 a=b\n"), 0).size, 1);
  });
});

describe("parsePaxTime()", () => {
  const table: [string, number, number][] = [
    ["1", 1, 0],
    ["1.", 1, 0],
    ["1.5", 1, 500_000_000],
    ["1.0000000019", 1, 1],
    ["-1.25", -2, 750_000_000],
    ["-0.5", -1, 500_000_000],
    ["-0", 0, 0],
    ["-3", -3, 0],
    [".5", Number.NaN, 500_000_000],
    ["1.5x", Number.NaN, 0],
    ["1.-5", Number.NaN, 0],
  ];
  for (const [text, seconds, nanoseconds] of table) {
    it(`reads ${text} as ${seconds} s`, () => {
      const time = parsePaxTime(text);
      assert.equal(time.seconds, seconds);
      if (!Number.isNaN(seconds)) assert.equal(time.nanoseconds, nanoseconds);
    });
  }
});
