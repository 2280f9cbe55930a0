import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, it } from "node:test";
import { deflateRawSync, gzipSync } from "node:zlib";
import { AppError, concatBytes, FormatError, sha256 } from "@soci-ts/core";
import { buildTar, seededBytes } from "@soci-ts/testkit";
import { buildLayerIndex } from "./build.ts";
import { build, buildIndex, pieces } from "./testing/build.ts";
import { rawZstdFrame, skippableFrame, zstdFrame } from "./testing/zstd.ts";

const TAR = await buildTar([
  { name: "etc/", type: "directory" },
  { name: "etc/a", content: "hello" },
  { name: "bin/data", content: seededBytes(500_000, 1) },
  { name: "bin/link", type: "symlink", linkname: "data" },
]);
const NAMES = ["etc/", "etc/a", "bin/data", "bin/link"];
const GZIP = gzipSync(TAR);

/** Builds and expects this error. */
async function fails(
  blob: Uint8Array,
  options: Parameters<typeof build>[1],
  code: AppError["code"],
  message: RegExp,
): Promise<void> {
  await assert.rejects(build(blob, options), (error) => {
    assert.ok(error instanceof AppError, String(error));
    assert.equal(error.code, code);
    assert.match(error.message, message);
    return true;
  });
}

describe("buildLayerIndex() of a gzip layer", () => {
  it("gives digests, sizes and entries of both sides in one pass", async () => {
    const output: Uint8Array[] = [];
    const progress: number[] = [];
    const built = await build(GZIP, {
      onOutput: (bytes) => output.push(Uint8Array.from(bytes)),
      onProgress: (bytes) => progress.push(bytes),
    });
    assert.equal(built.layerDigest, sha256(GZIP));
    assert.equal(built.diffId, sha256(TAR));
    assert.equal(built.compressedSizeBytes, GZIP.length);
    assert.equal(built.uncompressedSizeBytes, TAR.length);
    assert.deepEqual(
      built.entries.map(({ name }) => name),
      NAMES,
    );
    assert.equal(sha256(concatBytes(output)), sha256(TAR));
    assert.equal(progress.at(-1), GZIP.length);
    assert.deepEqual(
      [...progress].sort((a, b) => a - b),
      progress,
    );
  });

  it("takes padding behind the tar's end into the diffID, not into the size", async () => {
    const padded = concatBytes([TAR, new Uint8Array(200_000)]);
    const built = await build(gzipSync(padded, { level: 0 }));
    assert.equal(built.diffId, sha256(padded));
    assert.equal(built.uncompressedSizeBytes, TAR.length);
    const { spans, checkpoints } = built.index!;
    assert.equal(spans.length, checkpoints.length);
    assert.ok(checkpoints.at(-1)!.uncompressedOffset > TAR.length);
    assert.equal(spans.at(-1)!.uncompressedEnd, TAR.length);
  });

  it("digests each span with the byte that it shares with the next", async () => {
    const { spans, checkpoints } = await buildIndex(GZIP, { spanSizeBytes: 30_000 });
    assert.ok(checkpoints.some(({ bits }) => bits > 0));
    for (const span of spans) {
      assert.equal(span.digest, sha256(GZIP.subarray(span.compressedStart, span.compressedEnd)));
    }
  });

  /** A gzip stream whose first deflate block holds nothing. */
  const emptyStart = concatBytes([
    GZIP.subarray(0, 10),
    Uint8Array.of(0, 0, 0, 0xff, 0xff),
    deflateRawSync(TAR),
    GZIP.subarray(-8),
  ]);

  it("refuses a stream that starts with an empty block, or merges it", async () => {
    await fails(emptyStart, {}, "unimplemented", /empty/);
    const { spans, entries } = await buildIndex(emptyStart, { emptyStart: "merge" });
    assert.equal(spans[0]!.compressedStart, 10);
    assert.ok(spans[0]!.uncompressedEnd > 0);
    assert.equal(entries.length, NAMES.length);
  });

  it("refuses what is broken, and says where", async () => {
    await fails(TAR, {}, "data_loss", /gzip at offset 0/);
    await fails(GZIP.subarray(0, -1), {}, "data_loss", /gzip at offset/);
    await fails(new Uint8Array(0), {}, "data_loss", /gzip at offset 0/);
    await fails(concatBytes([GZIP, Uint8Array.of(1)]), {}, "data_loss", /gzip at offset/);
    await fails(gzipSync(TAR.subarray(0, 1600)), {}, "data_loss", /tar at offset 1600/);
    await fails(gzipSync(seededBytes(2000, 2)), {}, "data_loss", /tar at offset 0/);
  });

  it("stops at limits", async () => {
    await fails(
      GZIP,
      { limits: { maxEntries: 3 } },
      "resource_exhausted",
      /4 entries or more, want at most 3/,
    );
    await fails(
      GZIP,
      { spanSizeBytes: 1000, limits: { maxSpans: 2 } },
      "resource_exhausted",
      /2 spans/,
    );
  });

  it("refuses a span size that is none", async () => {
    for (const spanSizeBytes of [0, -1, 1.5, Number.NaN]) {
      await fails(GZIP, { spanSizeBytes }, "invalid_argument", /span size/);
      await fails(TAR, { compression: "none", spanSizeBytes }, "invalid_argument", /span size/);
    }
  });
});

describe("buildLayerIndex() of an uncompressed layer", () => {
  it("cuts a grid, whatever the pieces", async () => {
    for (const pieceBytes of [1000, 65_536, 10_000_000]) {
      const { index, diffId, layerDigest } = await build(TAR, { compression: "none", pieceBytes });
      assert.equal(diffId, sha256(TAR));
      assert.equal(layerDigest, diffId);
      assert.equal(index!.spans.length, Math.ceil(TAR.length / 65_536));
      for (const span of index!.spans) {
        assert.equal(span.digest, sha256(TAR.subarray(span.compressedStart, span.compressedEnd)));
        assert.equal(span.compressedStart, span.uncompressedStart);
      }
      assert.equal(index!.spans.at(-1)!.compressedEnd, TAR.length);
    }
  });

  it("has no short last span where the size is a multiple", async () => {
    const { spans } = await buildIndex(TAR, { compression: "none", spanSizeBytes: 512 });
    assert.equal(spans.length, TAR.length / 512);
  });

  it("gives no spans for an empty layer, and stops at the limit of spans", async () => {
    const empty = await buildIndex(new Uint8Array(0), { compression: "none" });
    assert.deepEqual([empty.spans, empty.entries], [[], []]);
    const limits = { maxSpans: 2 };
    await fails(TAR, { compression: "none", limits }, "resource_exhausted", /over 2 spans/);
  });
});

describe("buildLayerIndex() of a zstd layer", () => {
  const zstd = (blob: Uint8Array, pieceBytes = 999): ReturnType<typeof build> =>
    build(blob, { compression: "zstd", pieceBytes });

  it("gives the entries and no index", async () => {
    const half = 70_000;
    const blob = concatBytes([
      skippableFrame(TAR.subarray(0, 99)),
      rawZstdFrame(TAR.subarray(0, half)),
      rawZstdFrame(new Uint8Array(0)),
      rawZstdFrame(TAR.subarray(half)),
      skippableFrame(new Uint8Array(0)),
    ]);
    for (const pieceBytes of [7, 999, blob.length]) {
      const built = await zstd(blob, pieceBytes);
      assert.equal(built.index, undefined);
      assert.equal(built.diffId, sha256(TAR));
      assert.equal(built.layerDigest, sha256(blob));
      assert.equal(built.uncompressedSizeBytes, TAR.length);
      assert.deepEqual(
        built.entries.map(({ name }) => name),
        NAMES,
      );
    }
  });

  it("reads what the zstd tool wrote", async () => {
    const blob = readFileSync(new URL("../testdata/zstd/numbers.tar.zst", import.meta.url));
    const built = await zstd(blob, 100);
    assert.equal(built.entries.length, 41);
    assert.equal(
      built.diffId,
      "sha256:95a5148046ce0f5b25593f50af399635c9931cec6dc8ab6089321f8ec2f138e4",
    );
  });

  it("refuses what is broken, with a typed error", async () => {
    const blob = readFileSync(new URL("../testdata/zstd/numbers.tar.zst", import.meta.url));
    for (let length = 0; length < blob.length; length += 13) {
      await assert.rejects(zstd(blob.subarray(0, length)), FormatError);
    }
    for (let at = 10; at < blob.length; at += 7) {
      const bytes = Uint8Array.from(blob);
      bytes[at] = 0xff - bytes[at]!;
      const built = await zstd(bytes).catch((error: unknown) => error);
      if (built instanceof Error) assert.ok(built instanceof AppError, String(built));
    }
    await assert.rejects(zstd(concatBytes([blob, Uint8Array.of(1, 2, 3, 4)])), /zstd at offset/);
  });
});

describe("buildLayerIndex()", () => {
  it("gives timers their turn, and stops on abort", async () => {
    const big = gzipSync(Buffer.alloc(100_000_000));
    for (const pieceBytes of [big.length, 1000]) {
      const abort = new AbortController();
      const reason = new Error("enough");
      setTimeout(() => abort.abort(reason), 5);
      await assert.rejects(build(big, { pieceBytes, signal: abort.signal }), reason);
    }
  });

  it("does not start when aborted before", async () => {
    const signal = AbortSignal.abort();
    await assert.rejects(build(GZIP, { signal }), { name: "AbortError" });
  });

  it("ends the stream when it fails, and passes on what onOutput throws", async () => {
    for (const [compression, blob] of [
      ["gzip", GZIP],
      ["none", TAR],
      ["zstd", rawZstdFrame(TAR)],
    ] as const) {
      let ended = false;
      async function* stream(): AsyncGenerator<Uint8Array> {
        try {
          yield* pieces(blob, 100);
        } finally {
          ended = true;
        }
      }
      const failure = new Error("disk full");
      const onOutput = (): void => {
        throw failure;
      };
      await assert.rejects(
        buildLayerIndex(stream(), { compression, spanSizeBytes: 1000, onOutput }),
        failure,
      );
      assert.equal(ended, true);
    }
  });

  it("holds no more than a few pieces of a bomb", async () => {
    const head = TAR.subarray(0, 512);
    const bombs = {
      gzip: gzipSync(concatBytes([head, Buffer.alloc(200_000_000)])),
      zstd: zstdFrame([
        { kind: "raw", bytes: head },
        ...Array.from(
          { length: 2000 },
          () => ({ kind: "repeat", byte: 0, count: 131_072 }) as const,
        ),
      ]),
    };
    for (const compression of ["gzip", "zstd"] as const) {
      const before = process.memoryUsage.rss();
      let peak = before;
      let outputBytes = 0;
      await build(bombs[compression], {
        compression,
        spanSizeBytes: 4_194_304,
        onOutput: (bytes) => {
          outputBytes += bytes.length;
          peak = Math.max(peak, process.memoryUsage.rss());
        },
      });
      assert.ok(outputBytes >= 200_000_000);
      assert.ok(peak - before < 100_000_000, `${compression}: ${peak - before} bytes more`);
    }
  });
});
