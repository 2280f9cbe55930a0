import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { AppError, FormatError } from "@soci-ts/core";
import { encodeErofs } from "./encode.ts";
import { EROFS_SUPER_OFFSET, SUPER } from "./format.ts";
import { ErofsReader } from "./reader.ts";
import { b, devicesOf, dir, file, symlink, xattrs } from "./testing/trees.ts";

const DEVICES = devicesOf(2);
const SMALL = dir({
  a: file(600, 512, { xattrs: xattrs({ "user.k": "value", "security.capability": "c" }) }),
  l: symlink("target"),
  long: symlink("t".repeat(700)),
  sub: dir(Object.fromEntries(Array.from({ length: 60 }, (_, i) => [`name-${i}`, file(i, 0)]))),
});

const TINY = dir({
  a: file(600, 512, { xattrs: xattrs({ "user.k": "value" }) }),
  l: symlink("t".repeat(600)),
  sub: dir({ "name-3": file(1, 0) }),
});

/** Calls everything the reader has on everything it can reach, up to a bound: what a FUSE server would do. */
function exercise(bytes: Uint8Array): void {
  const reader = new ErofsReader(bytes);
  const nids = [reader.rootNid];
  const seen = new Set(nids);
  for (const nid of nids) {
    attempt(() => reader.xattrs(nid));
    attempt(() => reader.readLink(nid));
    attempt(() => reader.extent(nid));
    attempt(() => {
      for (const entry of reader.readDirectory(nid)) {
        if (seen.size < 300 && !seen.has(entry.nid)) nids.push(entry.nid);
        seen.add(entry.nid);
        if (seen.size > 300) break;
      }
    });
    attempt(() => reader.lookup(nid, b("name-3")));
    attempt(() => reader.inode(nid));
  }
}

function attempt(action: () => void): void {
  try {
    action();
  } catch (error) {
    if (error instanceof FormatError) return;
    if (error instanceof AppError && error.code === "failed_precondition") return;
    throw error;
  }
}

describe("ErofsReader", () => {
  // Hundreds of thousands of errors are made here; their stacks are most of the cost.
  Error.stackTraceLimit = 0;

  it("refuses an image cut off at any byte", () => {
    const image = encodeErofs(SMALL, { devices: DEVICES });
    for (let length = 0; length < image.length; length++) {
      assert.throws(
        () => new ErofsReader(image.subarray(0, length)),
        FormatError,
        `${length} bytes`,
      );
    }
  });

  it("refuses an image cut off at any byte that says it is whole, or answers FormatError", () => {
    const image = encodeErofs(SMALL, { devices: DEVICES });
    for (let length = 1152; length < image.length; length += 1) {
      const cut = image.slice(0, length);
      new DataView(cut.buffer).setUint32(EROFS_SUPER_OFFSET + SUPER.blockCount, length / 512, true);
      attempt(() => exercise(cut));
    }
  });

  it("gives FormatErrors when single fields hold extreme values", () => {
    const image = encodeErofs(TINY, { devices: DEVICES });
    for (let at = 1024; at < 2560; at += 2) {
      for (const value of [0, 1, 0x8000, 0xffff]) {
        const broken = image.slice();
        new DataView(broken.buffer).setUint16(at, value, true);
        attempt(() => exercise(broken));
      }
    }
  });

  it("refuses to read a node as what it is not", () => {
    const reader = new ErofsReader(encodeErofs(SMALL, { devices: DEVICES }));
    const nid = reader.lookup(reader.rootNid, b("a"))?.nid ?? 0;
    const wrong = { code: "failed_precondition" };
    assert.throws(() => reader.lookup(nid, b("x")), wrong);
    assert.throws(() => [...reader.readDirectory(nid)], wrong);
    assert.throws(() => reader.readLink(nid), wrong);
    assert.throws(() => reader.extent(reader.rootNid), wrong);
    assert.throws(() => [...reader.readDirectory(reader.rootNid, -1)], {
      code: "invalid_argument",
    });
  });

  it("refuses node ids that are not in the image", () => {
    const image = encodeErofs(SMALL, { devices: DEVICES });
    const reader = new ErofsReader(image);
    for (const nid of [0, -1, 1.5, image.length / 32, 2 ** 48, Number.NaN]) {
      assert.throws(() => reader.inode(nid), FormatError, `${nid}`);
    }
  });
});
