import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, it } from "node:test";
import { concatBytes, FormatError, sha256 } from "@soci-ts/core";
import { seededBytes } from "@soci-ts/testkit";
import { ZstdDecoder } from "./decoder.ts";
import { ZstdFrames } from "./frames.ts";

const FOLDER = new URL("../../testdata/zstd/", import.meta.url);

/** What the files were made of: see the README beside them. */
const PLAIN = concatBytes([
  seededBytes(5_000, 5),
  Buffer.from(Array.from({ length: 8_000 }, (_, at) => `line ${at * at} of ${at}\n`).join("")),
]);
const FILES = ["fast", "1", "3", "19", "blocks"];

function decode(blob: Uint8Array, pieceBytes: number): Uint8Array {
  const pieces: Uint8Array[] = [];
  const decoder = new ZstdDecoder((bytes) => pieces.push(bytes.slice()));
  const frames = new ZstdFrames(2 ** 25, decoder);
  for (let at = 0; at < blob.length; at += pieceBytes)
    frames.push(blob.subarray(at, at + pieceBytes));
  frames.finish();
  return concatBytes(pieces);
}

function file(name: string): Uint8Array {
  return new Uint8Array(readFileSync(new URL(`text-${name}.zst`, FOLDER)));
}

/** A frame of one compressed block, whose literals and sequences are these bytes. */
function blockFrame(bytes: readonly number[]): Uint8Array {
  const header = bytes.length * 8 + 5;
  const size = [0, 8, 16].map((bits) => Math.floor(header / 2 ** bits) % 256);
  const head = [0x28, 0xb5, 0x2f, 0xfd, 0, 7 * 8, ...size];
  return Uint8Array.from([...head, ...bytes]);
}

describe("ZstdDecoder", () => {
  for (const name of FILES) {
    it(`gives what the zstd tool compressed, ${name}, in pieces of any size`, () => {
      for (const pieceBytes of [1, 1_000_000])
        assert.equal(sha256(decode(file(name), pieceBytes)), sha256(PLAIN));
    });
  }

  it("reads a Huffman code whose weights are spelled out", () => {
    // Four literals in three bytes: one weight, 1, and a stream of the bits 0110 behind its mark. No sequences.
    const block = [0x42, 0xc0, 0, 128, 0x10, 0x16, 0];
    assert.deepEqual([...decode(blockFrame(block), 100)], [0, 1, 1, 0]);
  });

  it("starts anew with each frame, in memory that grows with the window", () => {
    const blobs = FILES.map(file);
    const all = decode(concatBytes([...blobs, ...blobs.toReversed()]), 4096);
    assert.equal(all.length, 2 * FILES.length * PLAIN.length);
  });

  const faults: readonly [name: string, block: readonly number[], message: RegExp][] = [
    ["nothing", [], /ends too early/],
    ["literals that are cut off", [0x50, 1], /ends too early/],
    ["more literals than a block holds", [0xfd, 0xff, 0xff, 1, 0], /literals, want at most 131072/],
    ["bytes behind no sequences", [0x08, 65, 0, 0], /goes on behind its end/],
    ["reserved bits", [0x08, 65, 1, 1, 1], /reserved bits/],
    ["sequences without an end mark", [0x08, 65, 1, 0, 0], /no end mark/],
    ["a code for its literals from nowhere", [0x13, 0x40, 0, 0], /no block before gave/],
    ["tables from nowhere", [0x08, 65, 1, 0xfc, 1], /no block before gave/],
    ["a code past the last", [0x08, 65, 1, 0x54, 60, 0, 0, 1], /a code is 60, want at most 35/],
    [
      "a table of too many states",
      [0x08, 65, 1, 0x80, 0x0f, 1, 1],
      /2\^20 states, want at most 2\^9/,
    ],
    ["a match before the frame", [0x08, 65, 1, 0x54, 1, 9, 0, 1, 2], /bytes back, want 1 to 1/],
    ["more literals than there are", [0x08, 65, 1, 0x54, 9, 0, 0, 1], /takes 9 literals/],
    [
      // One literal; 0x7f00 sequences, each with the longest match.
      "more bytes than a block holds",
      [0x08, 65, 255, 0, 0, 0x54, 0, 0, 52, ...new Array<number>(65_024).fill(255), 1],
      /holds \d+ bytes, want at most 131072/,
    ],
  ];
  for (const [name, block, message] of faults) {
    it(`refuses ${name}, at its place`, () => {
      assert.throws(
        () => decode(blockFrame(block), 100),
        (error) => {
          assert.ok(error instanceof FormatError && error.offset >= 9, String(error));
          assert.match(error.message, message);
          return true;
        },
      );
    });
  }

  it("refuses a stream that is cut anywhere", () => {
    const blob = file("19");
    for (let length = 1; length < blob.length; length += Math.ceil(blob.length / 60))
      assert.throws(() => decode(blob.subarray(0, length), 4096), FormatError);
  });
});
