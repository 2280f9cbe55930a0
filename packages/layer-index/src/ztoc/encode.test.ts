import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { AppError, sha256 } from "@soci-ts/core";
import type { TarEntry } from "@soci-ts/tar";
import { b, blobOf, PLAIN_ENTRY, SMALL_CONTENT } from "../testing/small-ztoc.ts";
import type { EncodableIndex } from "../types.ts";
import { decodeZtoc } from "./decode.ts";
import { encodeZtoc } from "./encode.ts";
import { joined } from "./flat-writer.ts";
import { ALGORITHM_GZIP } from "./slots.ts";
import { writeZtoc } from "./write.ts";

/** All fields at what Go calls their zero value. */
const ZERO_ENTRY = {
  ...PLAIN_ENTRY,
  name: b(""),
  type: "" as TarEntry["type"],
  dataOffset: 0,
  sizeBytes: 0,
  mode: 0,
  mtimeSec: -62_135_596_800,
} satisfies TarEntry;

const INDEX: EncodableIndex = {
  compression: "none",
  compressedSizeBytes: 4608,
  uncompressedSizeBytes: 4608,
  spanSizeBytes: 8192,
  checkpoints: [],
  entries: SMALL_CONTENT.entries,
  spans: [
    {
      compressedStart: 0,
      compressedEnd: 4608,
      uncompressedStart: 0,
      uncompressedEnd: 4608,
      digest: sha256(new Uint8Array(0)),
    },
  ],
};

describe("writeZtoc()", () => {
  it("gives the bytes of the reference's own test vector", () => {
    const lazy = writeZtoc({
      buildTool: "AWS SOCI CLI",
      compressedSizeBytes: 2_000_000,
      uncompressedSizeBytes: 2_500_000,
      entries: [ZERO_ENTRY, ZERO_ENTRY],
      algorithm: ALGORITHM_GZIP,
      maxSpanId: 3,
      spanDigests: [],
      checkpoints: blobOf(new Uint8Array(65_536)),
    });
    const ztoc = joined(lazy);
    assert.equal(ztoc.length, 65_928);
    assert.equal(
      sha256(ztoc),
      "sha256:eba28fdf50b1b57543f57dd051b2468c1d4f57b64d2006c75aa4de1d03e6c7ec",
    );
  });
});

describe("encodeZtoc()", () => {
  it("names the reference's build tool unless told otherwise", () => {
    assert.equal(decodeZtoc(encodeZtoc(INDEX)).buildTool, "AWS SOCI CLI v0.2");
    assert.equal(decodeZtoc(encodeZtoc(INDEX, { buildTool: "x" })).buildTool, "x");
  });

  it("grows its buffer where names are longer than is usual", () => {
    const records = new Map(Array.from({ length: 500 }, (_, i) => [b(`k${i}`), b("")] as const));
    const entry = { ...PLAIN_ENTRY, paxRecords: records };
    const decoded = decodeZtoc(encodeZtoc({ ...INDEX, entries: [entry] }));
    assert.deepEqual(
      new Map([...(decoded.entries[0]?.paxRecords ?? [])].sort()),
      new Map([...records].sort()),
    );
  });

  const second = (changes: Partial<TarEntry>): EncodableIndex => ({
    ...INDEX,
    entries: [PLAIN_ENTRY, { ...PLAIN_ENTRY, headerOffset: 1024, dataOffset: 1536, ...changes }],
  });
  const bad: [string, EncodableIndex, RegExp][] = [
    [
      "a hard link with a size",
      second({ type: "hardlink" }),
      /"file" is a hardlink of size 100, want 0/,
    ],
    [
      "a gap before a header",
      second({ headerOffset: 2048, dataOffset: 2560 }),
      /header of "file" is at 2048, want 1024/,
    ],
    [
      "a first header that is not at 0",
      { ...INDEX, entries: [{ ...PLAIN_ENTRY, headerOffset: 512, dataOffset: 1024 }] },
      /is at 512, want 0/,
    ],
    [
      "a year past 9999",
      second({ mtimeSec: 253_402_300_800 }),
      /time of "file" is 253402300800 s, want the years 0 to 9999/,
    ],
    ["a year before 0", second({ mtimeSec: -62_167_219_201 }), /want the years/],
    ["a layer without spans", { ...INDEX, spans: [] }, /has no span/],
  ];
  for (const [name, index, message] of bad) {
    it(`says that a ztoc can't hold ${name}`, () => {
      assert.throws(
        () => encodeZtoc(index),
        (error) =>
          error instanceof AppError &&
          error.code === "unimplemented" &&
          message.test(error.message),
      );
    });
  }
});
