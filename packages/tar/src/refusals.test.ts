import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { AppError, concatBytes, FormatError } from "@soci-ts/core";
import { block, data, END, MAGIC, pax, scan } from "./testing/archive.ts";
import type { TarLimits } from "./types.ts";

const FILE = concatBytes([block({ size: 5 }), data("hello")]);

const sparse = (records: [string, string][]): Uint8Array[] => [
  pax([["path", "sp"], ...records]),
  block({}),
];
const REFUSED: [string, Uint8Array[], RegExp][] = [
  [
    "a wrong checksum",
    [block({}).fill(0x41, 0, 1)],
    /offset 0: the header's checksum is \d+, want \d+/,
  ],
  [
    "a checksum that is no number",
    [block({ extra: { 148: "zzzzzzzz" } }).fill(0x7a, 148, 156)],
    /checksum is NaN/,
  ],
  [
    "a header after a zero block",
    [FILE, new Uint8Array(512), FILE],
    /offset 1536: a header follows a zero block/,
  ],
  ["a size that is no number", [block({ size: "12x" })], /sizeBytes field is not a number/],
  ["a mode that is no number", [block({ mode: "zz" })], /mode field/],
  [
    "a star time that is no number",
    [block({ extra: { 476: "zz", 508: "tar\0" } })],
    /access or change time/,
  ],
  [
    "a negative size",
    [block({ magic: MAGIC.gnu, size: "\xff".repeat(12) })],
    /size of "file" is -1/,
  ],
  [
    "a negative size in PAX",
    [pax([["size", "-5"]]), block({})],
    /offset 1024: the size of "file" is -5/,
  ],
  [
    "a negative size of an extended header",
    [block({ flag: "x", size: "\xff".repeat(12) })],
    /is -1/,
  ],
  [
    "a time past 2^53",
    [block({ magic: MAGIC.gnu, mtime: "\x80\0\0\0\x10\0\0\0\0\0\0\0" })],
    /out of range/,
  ],
  [
    "numbers past both ends",
    [
      block({
        magic: MAGIC.gnu,
        mode: "\x80\x7f\xff\xff\xff\xff\xff\xff",
        mtime: "\xff\xff\xff\xff\xf0\0\0\0\0\0\0\0",
      }),
    ],
    /out of range/,
  ],
  [
    "a PAX number that is none",
    [
      pax([
        ["path", "n\xff"],
        ["uid", "x"],
      ]),
      block({}),
    ],
    /offset 1024: the PAX record uid of .* is "x", want a number/,
  ],
  ["a PAX time that is none", [pax([["ctime", "x"]]), block({})], /PAX record ctime/],
  [
    "a malformed global header",
    [block({ flag: "g", size: 5 }), data("99 a=")],
    /offset 512: the PAX record/,
  ],
];

const UNSUPPORTED: [string, Uint8Array[], RegExp][] = [
  [
    "an old GNU sparse file",
    [block({ name: "sp", flag: "S", magic: MAGIC.gnu })],
    /offset 0: "sp" is a sparse file/,
  ],
  [
    "a contiguous file",
    [FILE, block({ name: "c\n", flag: "7" })],
    /offset 1024: "c\\\\x0a" is of type "7"/,
  ],
  ["a volume label", [block({ flag: "V" })], /is of type "V"/],
  [
    "a PAX sparse file of version 0.0",
    sparse([
      ["GNU.sparse.offset", "0"],
      ["GNU.sparse.numbytes", "1"],
    ]),
    /offset 1024: "sp" is a sparse file/,
  ],
  [
    "a PAX sparse file of version 0.1",
    sparse([["GNU.sparse.map", "0,1"]]),
    /"sp" is a sparse file/,
  ],
  [
    "a PAX sparse file of version 1.0",
    sparse([
      ["GNU.sparse.major", "1"],
      ["GNU.sparse.minor", "0"],
      ["GNU.sparse.name", "real"],
    ]),
    /"real" is a sparse file/,
  ],
];

const EXHAUSTED: [string, Uint8Array[], Partial<TarLimits>, RegExp][] = [
  ["entries", [FILE, FILE], { maxEntries: 1 }, /has 2 entries or more, want at most 1$/],
  ["a name", [block({ name: "12345" })], { maxNameBytes: 4 }, /has 5 bytes, want at most 4$/],
  [
    "a link target",
    [block({ flag: "2", linkname: "12345" })],
    { maxNameBytes: 4 },
    /has 5 bytes, want at most 4$/,
  ],
  [
    "an extended header",
    [block({ flag: "x", size: 1_048_577 })],
    {},
    /has 1048577 bytes, want at most 1048576/,
  ],
  [
    "an extended header past 2^53",
    [block({ flag: "L", size: "\x80\0\0\0\x10\0\0\0\0\0\0\0" })],
    {},
    /has Infinity bytes/,
  ],
  [
    "all headers together",
    [pax([["a", "b"]]), block({})],
    { maxMetadataBytes: 5 },
    /hold \d+ bytes or more, want at most 5$/,
  ],
];

describe("TarScan.push()", () => {
  for (const [name, parts, message] of REFUSED) {
    it(`refuses ${name}`, () => {
      const archive = concatBytes([...parts, END]);
      assert.throws(
        () => scan(archive),
        (error) =>
          error instanceof FormatError && error.format === "tar" && message.test(error.message),
      );
    });
  }

  for (const [name, parts, message] of UNSUPPORTED) {
    it(`does not support ${name}`, () => {
      assert.throws(
        () => scan(concatBytes([...parts, END])),
        (error) =>
          error instanceof AppError &&
          error.code === "unimplemented" &&
          message.test(error.message),
      );
    });
  }

  for (const [name, parts, limits, message] of EXHAUSTED) {
    it(`stops at the limit of ${name}`, () => {
      assert.throws(
        () => scan(concatBytes([...parts, END]), { limits }),
        (error) =>
          error instanceof AppError &&
          error.code === "resource_exhausted" &&
          message.test(error.message),
      );
    });
  }
});
