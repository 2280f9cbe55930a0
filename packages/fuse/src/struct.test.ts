import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { FormatError } from "@soci-ts/core";
import { decodeStruct, encodeStruct, layOut, type StructTable } from "./struct.ts";
import * as structs from "./structs.ts";

describe("structs.ts", () => {
  for (const table of Object.values(structs) as StructTable[]) {
    it(`${table.name} has ${table.sizeBytes} bytes, aligned`, () => {
      const last = layOut(table).at(-1);
      assert.ok(last !== undefined && last.offset < table.sizeBytes);
    });
  }

  it("has the kernel's sizes of the composed replies", () => {
    assert.equal(structs.FUSE_ENTRY_OUT.sizeBytes + structs.FUSE_ATTR.sizeBytes, 128);
    assert.equal(structs.FUSE_ATTR_OUT.sizeBytes + structs.FUSE_ATTR.sizeBytes, 104);
  });
});

describe("layOut()", () => {
  it("refuses a table with a hole or a wrong size", () => {
    assert.throws(() =>
      layOut({
        name: "hole",
        sizeBytes: 12,
        fields: [
          ["a", "u32"],
          ["b", "u64"],
        ],
      }),
    );
    assert.throws(() => layOut({ name: "short", sizeBytes: 8, fields: [["a", "u32"]] }));
  });
});

describe("encodeStruct() and decodeStruct()", () => {
  const table = {
    name: "all",
    sizeBytes: 40,
    fields: [
      ["a", "u16"],
      ["b", "u16"],
      ["c", "u32"],
      ["d", "i32"],
      ["e", "u32"],
      ["f", "u64"],
      ["g", "i64"],
      ["h", "raw64"],
    ],
  } as const;

  it("keep every field type", () => {
    const value = {
      a: 65_535,
      b: 1,
      c: 4_294_967_295,
      d: -2,
      e: 7,
      f: 2 ** 53 - 1,
      g: -5,
      h: 2n ** 64n - 1n,
    };
    const view = new DataView(new ArrayBuffer(48));
    encodeStruct(table, view, 8, value);
    assert.deepEqual(decodeStruct(table, view, 8), value);
  });

  it("name the end of the message and a number that is too large", () => {
    const view = new DataView(new ArrayBuffer(39));
    assert.throws(() => decodeStruct(table, view, 0), FormatError);
    const large = new DataView(new ArrayBuffer(40));
    large.setBigUint64(16, 2n ** 53n, true);
    assert.throws(() => decodeStruct(table, large, 0), FormatError);
  });
});
