import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { ByteString } from "@soci-ts/core";
import { negotiateInit, parseNegotiated } from "./init.ts";
import {
  encodeDevice,
  encodeDirectory,
  encodeEntry,
  encodeInit,
  encodeOutHeader,
  VALID_SEC,
} from "./reply.ts";
import { decodeStruct } from "./struct.ts";
import {
  FUSE_ATTR,
  FUSE_DIRENT,
  FUSE_ENTRY_OUT,
  FUSE_INIT_OUT,
  FUSE_OUT_HEADER,
} from "./structs.ts";
import { MemoryTree, sampleTree } from "./testing/memory-tree.ts";

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

const tree = new MemoryTree(sampleTree());

describe("encodeOutHeader()", () => {
  it("has a negative errno and the unique bit for bit", () => {
    const unique = (1n << 63n) | 77n;
    assert.deepEqual(decodeStruct(FUSE_OUT_HEADER, viewOf(encodeOutHeader(unique, 5, 100)), 0), {
      len: 116,
      error: -5,
      unique,
    });
  });
});

describe("negotiateInit()", () => {
  it("takes what the kernel has and nothing more", () => {
    const all = negotiateInit({ major: 7, minor: 45, maxReadaheadBytes: 1, flags: 2n ** 64n - 1n });
    const reply = decodeStruct(FUSE_INIT_OUT, viewOf(encodeInit(all)), 0);
    assert.equal(reply.minor, 41);
    assert.equal(reply.flags2, (1 << 7) | (1 << 8));
    assert.ok(reply.flags > 0);
    const few = negotiateInit({
      major: 7,
      minor: 31,
      maxReadaheadBytes: 1,
      flags: 1n | (1n << 39n),
    });
    assert.deepEqual([...few.flags], ["ASYNC_READ"]);
    assert.equal(few.minor, 31);
  });

  it("refuses a protocol that is too old", () => {
    const offer = { major: 7, minor: 27, maxReadaheadBytes: 1, flags: 0n };
    assert.throws(() => negotiateInit(offer), { code: "unimplemented" });
  });
});

describe("parseNegotiated()", () => {
  it("reads back what went through JSON", () => {
    const all = negotiateInit({ major: 7, minor: 45, maxReadaheadBytes: 1, flags: 2n ** 64n - 1n });
    assert.deepEqual(parseNegotiated(JSON.parse(JSON.stringify(all))), all);
  });

  const whole = { minor: 41, maxReadaheadBytes: 1, flags: [] };
  const wrong = [null, 1, {}, { ...whole, minor: "41" }, { ...whole, flags: ["NEW"] }];
  for (const value of wrong) {
    it(`refuses ${JSON.stringify(value)}`, () => {
      assert.throws(() => parseNegotiated(value), { code: "data_loss" });
    });
  }
});

describe("encodeEntry()", () => {
  it("has mode, times before 1970 and the device number", () => {
    const view = viewOf(encodeEntry(tree.getAttributes(7)));
    assert.equal(decodeStruct(FUSE_ENTRY_OUT, view, 0).nodeid, 7);
    const attr = decodeStruct(FUSE_ATTR, view, FUSE_ENTRY_OUT.sizeBytes);
    assert.equal(attr.mode, 0o060644);
    assert.equal(attr.mtime, -5);
    assert.equal(attr.mtimensec, 123_456_789);
    assert.equal(attr.rdev, encodeDevice(259, 70_000));
  });

  it("is a name to remember as absent without attributes", () => {
    const entry = decodeStruct(FUSE_ENTRY_OUT, viewOf(encodeEntry(undefined)), 0);
    assert.equal(entry.nodeid, 0);
    assert.equal(entry.entry_valid, VALID_SEC);
  });
});

describe("encodeDevice()", () => {
  it("is the kernel's packing", () => {
    assert.equal(encodeDevice(0, 0), 0);
    assert.equal(encodeDevice(8, 1), 0x801);
    assert.equal(encodeDevice(0xfff, 0xfffff), 0xffff_ffff);
  });
});

describe("encodeDirectory()", () => {
  it("pads names to 8 bytes and says where to go on", () => {
    const entry = { name: "abc" as ByteString, nodeId: 9, type: "symlink" as const };
    const bytes = encodeDirectory(
      [
        { entry, nextOffset: 1 },
        { entry, nextOffset: 2 },
      ],
      false,
    );
    assert.equal(bytes.length, 2 * 32);
    assert.deepEqual(decodeStruct(FUSE_DIRENT, viewOf(bytes), 32), {
      ino: 9,
      off: 2,
      namelen: 3,
      type: 10,
    });
  });
});
