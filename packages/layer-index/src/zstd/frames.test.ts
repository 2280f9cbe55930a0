import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { AppError, concatBytes, FormatError } from "@soci-ts/core";
import { rawZstdFrame, skippableFrame, zstdFrame } from "../testing/zstd.ts";
import { ZstdFrames } from "./frames.ts";

const MAX_WINDOW_BYTES = 2 ** 20;
const HELLO = Buffer.from("hello");
const MAGIC = [0x28, 0xb5, 0x2f, 0xfd];

function walk(bytes: Uint8Array, pieceBytes = bytes.length): void {
  const frames = new ZstdFrames(MAX_WINDOW_BYTES, { startFrame: () => {}, push: () => {} });
  for (let at = 0; at < bytes.length; at += pieceBytes)
    frames.push(bytes.subarray(at, at + pieceBytes));
  frames.finish();
}

const SOUND: [string, Uint8Array][] = [
  ["a frame", rawZstdFrame(HELLO)],
  ["a frame with a checksum", zstdFrame([{ kind: "raw", bytes: HELLO }], new Uint8Array(4))],
  ["a repeated byte", zstdFrame([{ kind: "repeat", byte: 0, count: 131_072 }])],
  ["several blocks", rawZstdFrame(new Uint8Array(250_000))],
  [
    "several frames, some to be passed over",
    concatBytes([
      skippableFrame(HELLO),
      rawZstdFrame(HELLO),
      skippableFrame(new Uint8Array(0)),
      rawZstdFrame(HELLO),
      skippableFrame(HELLO),
    ]),
  ],
  ["an empty frame of one segment", Uint8Array.of(...MAGIC, 0x20, 0, 1, 0, 0)],
  ["a content size of two bytes", Uint8Array.of(...MAGIC, 0x60, 0, 0, 1, 0, 0)],
  ["a dictionary of number 0", Uint8Array.of(...MAGIC, 0x23, 0, 0, 0, 0, 0, 1, 0, 0)],
];

describe("ZstdFrames", () => {
  for (const [name, bytes] of SOUND) {
    it(`takes ${name}, however it is cut, and nothing shorter`, () => {
      for (const pieceBytes of [1, 3, bytes.length]) walk(bytes, pieceBytes);
    });
  }

  it("refuses truncation at every byte, but for the ends of frames", () => {
    const frame = rawZstdFrame(HELLO);
    const bytes = concatBytes([frame, skippableFrame(HELLO), frame]);
    for (let length = 0; length < bytes.length; length += 1) {
      if (length === frame.length || length === bytes.length - frame.length) continue;
      assert.throws(() => walk(bytes.subarray(0, length)), FormatError, `${length}`);
    }
  });

  const bad: [string, Uint8Array, RegExp][] = [
    ["another format", HELLO, /offset 4: no frame starts here/],
    [
      "junk after a frame",
      concatBytes([rawZstdFrame(HELLO), new Uint8Array(4)]),
      /offset 18: no frame/,
    ],
    ["a reserved bit", Uint8Array.of(...MAGIC, 8), /reserved bit/],
    [
      "a reserved kind of block",
      Uint8Array.of(...MAGIC, 0, 0, 6, 0, 0),
      /block's header is not valid/,
    ],
    [
      "a block of over 128 KiB",
      Uint8Array.of(...MAGIC, 0, 0, 8, 0, 16),
      /block's header is not valid/,
    ],
  ];
  for (const [name, bytes, message] of bad) {
    it(`refuses ${name}`, () => {
      assert.throws(
        () => walk(bytes),
        (error) => error instanceof FormatError && message.test(error.message),
      );
    });
  }

  const unsupported: [string, Uint8Array, RegExp][] = [
    [
      "a window over the limit",
      Uint8Array.of(...MAGIC, 0, 10 * 8 + 1),
      /window of 1179648 bytes, want at most 1048576/,
    ],
    [
      "content of one segment over the limit",
      Uint8Array.of(...MAGIC, 0xa0, 1, 0, 0x10, 0),
      /window of 1048577 bytes/,
    ],
    ["a huge window", Uint8Array.of(...MAGIC, 0, 0xff), /window of 4123168604160 bytes/],
    ["a dictionary", Uint8Array.of(...MAGIC, 1, 0, 7), /needs a dictionary/],
  ];
  for (const [name, bytes, message] of unsupported) {
    it(`does not support ${name}`, () => {
      assert.throws(
        () => walk(bytes),
        (error) =>
          error instanceof AppError &&
          error.code === "unimplemented" &&
          message.test(error.message),
      );
    });
  }
});
