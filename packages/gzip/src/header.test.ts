import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { FormatError } from "@soci-ts/core";
import { HeaderReader } from "./header.ts";
import { fullHeader, PLAIN_HEADER } from "./testing/streams.ts";

/** A header of the fixed part with `flags`, and then `fields`. */
function headerWith(flags: number, ...fields: number[]): Uint8Array {
  const header = Uint8Array.of(...PLAIN_HEADER, ...fields);
  header[3] = flags;
  return header;
}

const HEADERS: Readonly<Record<string, Uint8Array>> = {
  plain: PLAIN_HEADER,
  "text flag": headerWith(1),
  "all fields": fullHeader(),
  "extra field": headerWith(4, 3, 0, 1, 2, 3),
  "empty extra field": headerWith(4, 0, 0),
  "long extra field": headerWith(4, 44, 1, ...Array(300).fill(7)),
  name: headerWith(8, 97, 98, 0),
  "empty name": headerWith(8, 0),
  comment: headerWith(16, 97, 0),
  "name and empty comment": headerWith(24, 97, 0, 0),
};

describe("HeaderReader", () => {
  for (const [name, header] of Object.entries(HEADERS)) {
    it(`stops right after the header, however it is cut: ${name}`, () => {
      const bytes = Uint8Array.of(...header, 0, 1, 2, 3);
      for (const pieceBytes of [1, 3, bytes.length]) {
        const reader = new HeaderReader(100);
        assert.ok(reader.isUntouched);
        let used = 0;
        while (!reader.isDone) {
          assert.ok(used < header.length);
          const end = Math.min(used + pieceBytes, bytes.length);
          used = reader.push(bytes.subarray(0, end), used);
          assert.ok(!reader.isUntouched);
        }
        assert.equal(used, header.length);
      }
    });

    it(`is not done before the last byte: ${name}`, () => {
      for (let length = 0; length < header.length; length++) {
        const reader = new HeaderReader(0);
        assert.equal(reader.push(header.subarray(0, length), 0), length);
        assert.ok(!reader.isDone);
      }
    });
  }

  it("names the offset of the faulty byte", () => {
    const faults: readonly [Uint8Array, number][] = [
      [Uint8Array.of(0), 0],
      [Uint8Array.of(0x1f, 0), 1],
      [Uint8Array.of(0x1f, 0x8b, 7), 2],
      [headerWith(0x20), 3],
      [headerWith(2, 0, 0), 10],
    ];
    for (const [bytes, at] of faults) {
      assert.throws(
        () => new HeaderReader(500).push(bytes, 0),
        (error) => error instanceof FormatError && error.offset === 500 + at,
      );
    }
  });
});
