import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { FormatError } from "@soci-ts/core";
import { type Checkpoint, WINDOW_BYTES } from "@soci-ts/gzip";
import { joined } from "./flat-writer.ts";
import { decodeTarZinfo, encodeTarZinfo } from "./tar-zinfo.ts";
import { decodeZinfo, type Zinfo, zinfoBytes, zinfoSizeBytes } from "./zinfo.ts";

const RECORD_BYTES = 32_785;

function checkpoint(compressedOffset: number, uncompressedOffset: number, bits = 0): Checkpoint {
  return {
    compressedOffset,
    uncompressedOffset,
    bits,
    window: new Uint8Array(WINDOW_BYTES).fill(bits),
  };
}

const ZINFO: Zinfo = {
  spanSizeBytes: 65_536,
  checkpoints: [checkpoint(10, 0), checkpoint(300, 70_000, 3), checkpoint(2 ** 33, 2 ** 34, 7)],
};

function encoded(zinfo: Zinfo): Uint8Array {
  return joined(zinfoBytes(zinfo));
}

describe("zinfoBytes() and decodeZinfo()", () => {
  it("give 12 bytes and 32785 for each checkpoint", () => {
    assert.equal(zinfoSizeBytes(3), 12 + 3 * RECORD_BYTES);
    assert.deepEqual(decodeZinfo(encoded(ZINFO), 3), ZINFO);
  });

  it("give views, not copies, of the windows", () => {
    const blob = encoded(ZINFO);
    const { checkpoints } = decodeZinfo(blob, 3);
    assert.equal(checkpoints[2]?.window.buffer, blob.buffer);
  });

  it("read the old flavour, which leaves out the first checkpoint", () => {
    const blob = encoded({ ...ZINFO, checkpoints: ZINFO.checkpoints.slice(1) });
    new DataView(blob.buffer).setInt32(0, 3, true);
    assert.deepEqual(decodeZinfo(blob, 3), ZINFO);
    const single = new Uint8Array(12);
    new DataView(single.buffer).setInt32(0, 1, true);
    new DataView(single.buffer).setInt32(4, 9, true);
    assert.deepEqual(decodeZinfo(single, 1), {
      spanSizeBytes: 9,
      checkpoints: [checkpoint(10, 0)],
    });
  });
});

describe("decodeZinfo()", () => {
  const bad: [string, (view: DataView) => void, RegExp][] = [
    [
      "another count",
      (view) => view.setInt32(0, 4, true),
      /has 4 checkpoints, want one for each of 3/,
    ],
    ["a negative span size", (view) => view.setInt32(8, -1, true), /offset 4: an offset is -/],
    ["a span size of 0", (view) => view.setInt32(4, 0, true), /span size is 0/],
    ["a huge offset", (view) => view.setInt32(16, 0x7fffffff, true), /offset 12: an offset is/],
    [
      "a first checkpoint at 0 of the blob",
      (view) => view.setInt32(12, 0, true),
      /offset 12: checkpoint 0 does/,
    ],
    [
      "a first checkpoint after 0 of the tar",
      (view) => view.setInt32(20, 1, true),
      /offset 20: the first checkpoint is at 1/,
    ],
    ["bits over 7", (view) => view.setUint8(28, 8), /offset 28: the bits of checkpoint 0 are 8/],
    [
      "equal compressed offsets",
      (view) => view.setInt32(12 + RECORD_BYTES, 10, true),
      /does not lie after/,
    ],
    [
      "equal uncompressed offsets",
      (view) => view.setInt32(20 + RECORD_BYTES, 0, true),
      /does not lie after/,
    ],
  ];
  for (const [name, change, message] of bad) {
    it(`refuses ${name}`, () => {
      const blob = encoded(ZINFO);
      change(new DataView(blob.buffer));
      assert.throws(
        () => decodeZinfo(blob, 3),
        (error) => error instanceof FormatError && message.test(error.message),
      );
    });
  }

  it("refuses any other length", () => {
    const blob = encoded(ZINFO);
    for (const length of [0, 4, 11, 12, 13, 12 + RECORD_BYTES, blob.length - 1]) {
      assert.throws(() => decodeZinfo(blob.subarray(0, length), 3), FormatError);
    }
  });
});

describe("encodeTarZinfo() and decodeTarZinfo()", () => {
  it("agree", () => {
    for (const sizeBytes of [0, 1, 2 ** 40]) {
      const zinfo = { spanSizeBytes: 4_194_304, sizeBytes };
      assert.deepEqual(decodeTarZinfo(encodeTarZinfo(zinfo)), zinfo);
    }
  });

  it("refuse another version, a span size of 0 and truncation at every byte", () => {
    const bytes = encodeTarZinfo({ spanSizeBytes: 7, sizeBytes: 9 });
    const at = bytes.indexOf(2, bytes.length - 24);
    assert.throws(
      () => decodeTarZinfo(Uint8Array.from(bytes).fill(3, at, at + 1)),
      /version is 3, want 2/,
    );
    assert.throws(
      () => decodeTarZinfo(encodeTarZinfo({ spanSizeBytes: 0, sizeBytes: 9 })),
      /span size is 0/,
    );
    for (let length = 0; length < bytes.length; length += 1) {
      assert.throws(() => decodeTarZinfo(bytes.subarray(0, length)), FormatError);
    }
  });
});
