import assert from "node:assert/strict";
import { concatBytes } from "@soci-ts/core";
import { testHostileReaders } from "@soci-ts/testkit";
import {
  block,
  data,
  END,
  gnuLong,
  MAGIC,
  pax,
  type Scanned,
  scan,
  sealBlock,
} from "./testing/archive.ts";

const ARCHIVE = concatBytes([
  pax([
    ["path", "long/name"],
    ["mtime", "1.5"],
    ["SCHILY.xattr.user.a", "\xff\0"],
  ]),
  block({ size: 5 }),
  data("hello"),
  gnuLong("L", "a/long/name\0"),
  block({ magic: MAGIC.gnu, flag: "2", linkname: "x", uid: "\x80\0\0\0\0\0\0\x07" }),
  block({ name: "d/", flag: "5" }),
  block({ extra: { 476: "00000000001\0", 488: "00000000001\0", 508: "tar\0" } }),
  END,
]);

const TOKENS = [
  "ustar\0",
  "ustar  \0",
  "GNU.sparse.",
  "size=",
  "path=",
  "9 a=\n",
  "\x80",
  "S",
  "g",
  "x",
];

/** A checksum as `sealBlock` writes it: so do those blocks that are headers, and no others here. */
function isSealed(bytes: Uint8Array, start: number): boolean {
  const text = Buffer.from(bytes.subarray(start + 148, start + 156)).toString("latin1");
  return /^[0-7]{6}\0 $/.test(text);
}

function seal(archive: Uint8Array): void {
  for (let start = 0; start + 512 <= archive.length; start += 512) {
    if (isSealed(archive, start)) sealBlock(archive, start);
  }
}

function verify({ entries, endOffset }: Scanned, length: number): void {
  let end = 0;
  for (const { type, headerOffset, dataOffset, sizeBytes } of entries) {
    assert.ok(headerOffset >= end && dataOffset >= headerOffset + 512);
    assert.ok(dataOffset % 512 === 0 && sizeBytes >= 0);
    end = dataOffset + (type === "reg" ? sizeBytes : 0);
  }
  assert.ok(end <= endOffset && endOffset <= length);
}

testHostileReaders(new URL("../testdata/", import.meta.url), [
  {
    name: "tar",
    seeds: [ARCHIVE],
    tokens: TOKENS,
    seal,
    read: (archive) => verify(scan(archive), archive.length),
  },
]);
