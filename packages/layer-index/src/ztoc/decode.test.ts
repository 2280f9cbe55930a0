import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { AppError, type ByteString, FormatError, sha256 } from "@soci-ts/core";
import { type Checkpoint, WINDOW_BYTES } from "@soci-ts/gzip";
import type { TarEntry } from "@soci-ts/tar";
import type { LayerIndexLimits } from "../limits.ts";
import { b, blobOf, PLAIN_ENTRY, SMALL_CONTENT, smallZtoc } from "../testing/small-ztoc.ts";
import { decodeZtoc } from "./decode.ts";
import type { LazyBytes } from "./flat-writer.ts";
import { encodeTarZinfo } from "./tar-zinfo.ts";
import type { ZtocContent } from "./write.ts";
import { zinfoBytes } from "./zinfo.ts";

const DIGEST = sha256(new Uint8Array(0));

function checkpoint(compressedOffset: number, uncompressedOffset: number, bits = 0): Checkpoint {
  return { compressedOffset, uncompressedOffset, bits, window: new Uint8Array(WINDOW_BYTES) };
}

function zinfo(...checkpoints: Checkpoint[]): LazyBytes {
  return zinfoBytes({ spanSizeBytes: 1000, checkpoints });
}

function gzipContent(...checkpoints: Checkpoint[]): Partial<ZtocContent> {
  return {
    algorithm: 1,
    maxSpanId: checkpoints.length - 1,
    spanDigests: checkpoints.map(() => DIGEST),
    checkpoints: zinfo(...checkpoints),
  };
}

describe("decodeZtoc()", () => {
  it("reads an uncompressed layer's ztoc", () => {
    const { entries, spans, ...rest } = decodeZtoc(smallZtoc());
    assert.deepEqual(entries, SMALL_CONTENT.entries);
    assert.deepEqual(rest, {
      buildTool: "tool",
      compression: "none",
      compressedSizeBytes: 5000,
      uncompressedSizeBytes: 4608,
      spanSizeBytes: 4096,
      checkpoints: [],
    });
    const ranges = spans.map((span) => [
      span.compressedStart,
      span.compressedEnd,
      span.uncompressedStart,
      span.uncompressedEnd,
    ]);
    assert.deepEqual(ranges, [
      [0, 4096, 0, 4096],
      [4096, 5000, 4096, 4608],
    ]);
  });

  it("refuses an entry with two PAX records of one key", () => {
    class Twice extends Map<ByteString, ByteString> {
      override *[Symbol.iterator](): MapIterator<[ByteString, ByteString]> {
        yield [b("mtime"), b("1")];
        yield [b("mtime"), b("2")];
      }
    }
    const entries = [{ ...PLAIN_ENTRY, paxRecords: new Twice([[b("mtime"), b("1")]]) }];
    assert.throws(
      () => decodeZtoc(smallZtoc({ entries })),
      (error) => error instanceof FormatError && /"mtime" is there twice/.test(error.message),
    );
  });

  it("cuts the spans of a gzip layer off at the tar's end, also where checkpoints lie behind it", () => {
    const { spans } = decodeZtoc(
      smallZtoc(
        gzipContent(
          checkpoint(10, 0),
          checkpoint(300, 4000, 3),
          checkpoint(400, 4608),
          checkpoint(500, 9000, 1),
        ),
      ),
    );
    assert.deepEqual(
      spans.map((span) => [
        span.compressedStart,
        span.compressedEnd,
        span.uncompressedStart,
        span.uncompressedEnd,
      ]),
      [
        [10, 300, 0, 4000],
        [299, 400, 4000, 4608],
        [400, 500, 4608, 4608],
        [499, 5000, 4608, 4608],
      ],
    );
  });

  it("takes a ztoc without entries", () => {
    assert.deepEqual(decodeZtoc(smallZtoc({ entries: [] })).entries, []);
  });

  it("reads bytes that are a part of a larger buffer", () => {
    const ztoc = smallZtoc();
    const padded = new Uint8Array(ztoc.length + 100);
    padded.set(ztoc, 33);
    assert.deepEqual(decodeZtoc(padded.subarray(33, 33 + ztoc.length)), decodeZtoc(ztoc));
  });

  const entry = (changes: Partial<TarEntry>): Partial<ZtocContent> => ({
    entries: [{ ...PLAIN_ENTRY, ...changes }],
  });
  const bad: [string, Partial<ZtocContent>, RegExp][] = [
    [
      "fewer digests than spans",
      { spanDigests: [DIGEST] },
      /1 span digests and the last span is 1/,
    ],
    ["no span", { maxSpanId: -1, spanDigests: [] }, /0 span digests/],
    [
      "a malformed digest",
      { spanDigests: [DIGEST, "sha256:xyz"] },
      /digest of span 1 is malformed/,
    ],
    ["another algorithm", { algorithm: 3 }, /algorithm is 3, want 1 or 2/],
    [
      "a grid of another size",
      { checkpoints: blobOf(encodeTarZinfo({ spanSizeBytes: 4096, sizeBytes: 5001 })) },
      /grid has 5001 bytes, want 5000/,
    ],
    [
      "a grid of other spans",
      { checkpoints: blobOf(encodeTarZinfo({ spanSizeBytes: 5000, sizeBytes: 5000 })) },
      /has 2 spans, want 1/,
    ],
    [
      "a tar larger than its layer",
      { uncompressedSizeBytes: 5001 },
      /tar has 5001 bytes, want at most/,
    ],
    [
      "no checkpoints",
      { ...gzipContent(checkpoint(10, 0)), checkpoints: blobOf(new Uint8Array(0)) },
      /zinfo at offset 0: it has 0 bytes/,
    ],
    [
      "a checkpoint at the layer's end",
      gzipContent(checkpoint(10, 0), checkpoint(5000, 4000)),
      /span 1 ends before it starts/,
    ],
    [
      "more output than deflate can give",
      { ...gzipContent(checkpoint(4990, 0)), uncompressedSizeBytes: 10_321 },
      /span 0 has 10321 bytes in 10/,
    ],
    ["a negative size", { compressedSizeBytes: -1 }, /a size is -1/],
    [
      "an unknown type",
      entry({ type: "socket" as TarEntry["type"] }),
      /"file" has an unknown type/,
    ],
    [
      "data before its header's end",
      entry({ dataOffset: 511 }),
      /data of "file" is at 511, want whole blocks/,
    ],
    ["data that is not at a block", entry({ dataOffset: 700 }), /is at 700, want whole blocks/],
    [
      "data past the tar's end",
      entry({ sizeBytes: 4097 }),
      /ends at 4609, want at most the tar's 4608/,
    ],
    ["data past 2^53", entry({ type: "dir", sizeBytes: Number.MAX_SAFE_INTEGER - 600 }), /ends at/],
    [
      "a hard link with a size before another entry",
      {
        entries: [
          { ...PLAIN_ENTRY, type: "hardlink", sizeBytes: 600 },
          { ...PLAIN_ENTRY, dataOffset: 1536 },
        ],
      },
      /at 1536, want whole blocks after its header at 1536/,
    ],
    [
      "entries out of order",
      { entries: [{ ...PLAIN_ENTRY, dataOffset: 1024 }, PLAIN_ENTRY] },
      /after its header at 1536/,
    ],
  ];
  for (const [name, changes, message] of bad) {
    it(`refuses ${name}`, () => {
      assert.throws(
        () => decodeZtoc(smallZtoc(changes)),
        (error) => error instanceof FormatError && message.test(error.message),
      );
    });
  }

  const textual: [string, string, string, RegExp][] = [
    ["another version", "0.9", "1.0", /its version is "1.0", want 0.9/],
    ["a time that is none", "2020-09-13T", "2020-19-13T", /time of "file" is not RFC 3339/],
  ];
  for (const [name, from, to, message] of textual) {
    it(`refuses ${name}`, () => {
      const ztoc = Buffer.from(smallZtoc());
      ztoc.write(to, ztoc.indexOf(from), "latin1");
      assert.throws(() => decodeZtoc(ztoc), message);
    });
  }

  const limits: [string, Partial<LayerIndexLimits>, RegExp][] = [
    ["entries", { maxEntries: 2 }, /3 entries, want at most 2/],
    ["spans", { maxSpans: 1 }, /2 spans, want at most 1/],
    ["text", { maxMetadataBytes: 500 }, /spells out \d+ bytes or more, want at most 500/],
    ["a name", { maxNameBytes: 3 }, /has \d+ bytes, want at most 3/],
  ];
  for (const [name, limit, message] of limits) {
    it(`stops at the limit of ${name}`, () => {
      assert.throws(
        () => decodeZtoc(smallZtoc(), limit),
        (error) =>
          error instanceof AppError &&
          error.code === "resource_exhausted" &&
          message.test(error.message),
      );
    });
  }

  it("keeps a small buffer that names one large text many times from filling memory", () => {
    const long = { ...PLAIN_ENTRY, name: b("n".repeat(10_000)), sizeBytes: 0 };
    const ztoc = Buffer.from(
      smallZtoc({
        entries: Array.from({ length: 50 }, (_, i) => ({
          ...long,
          headerOffset: i * 512,
          dataOffset: i * 512 + 512,
        })),
        uncompressedSizeBytes: 5000,
      }),
    );
    assert.throws(
      () => decodeZtoc(ztoc, { maxMetadataBytes: 100_000 }),
      /spells out \d+ bytes or more, want at most 100000/,
    );
  });
});
