import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { constants, crc32, deflateRawSync, deflateSync, gzipSync } from "node:zlib";
import { AppError, concatBytes, FormatError } from "@soci-ts/core";
import { availableEngines } from "./engines.ts";
import { createGzipScan } from "./scan.ts";
import { createRandom, fileLikeBytes } from "./testing/random.ts";
import { type ScanAllOptions, scanAll } from "./testing/scan-all.ts";
import {
  awkwardStreams,
  EMPTY_STORED_BLOCK,
  FINAL_EMPTY_BLOCK,
  fullHeader,
  memberOf,
  PLAIN_HEADER,
  trailerOf,
} from "./testing/streams.ts";
import { classicCheckpoints } from "./testing/zran.ts";
import { WINDOW_BYTES } from "./types.ts";

const plain = fileLikeBytes(3000, 11);
const small = concatBytes([
  gzipSync(plain.subarray(0, 1500), { memLevel: 1 }),
  memberOf(deflateRawSync(plain.subarray(1500)), plain.subarray(1500), fullHeader()),
]);
const memberEnd = gzipSync(plain.subarray(0, 1500), { memLevel: 1 }).length;

function storedBlock(bytes: Uint8Array): Uint8Array {
  const low = bytes.length & 255;
  const high = bytes.length >>> 8;
  return concatBytes([Uint8Array.of(0, low, high, low ^ 255, high ^ 255), bytes]);
}

function failureOf(compressed: Uint8Array, options: ScanAllOptions): AppError {
  try {
    scanAll(compressed, options);
  } catch (error) {
    assert.ok(error instanceof AppError, `not an AppError: ${String(error)}`);
    return error;
  }
  throw new assert.AssertionError({ message: "the scan should have failed" });
}

function flip(bytes: Uint8Array, at: number): Uint8Array {
  const copy = bytes.slice();
  copy[at] = (copy[at] ?? 0) ^ 0x55;
  return copy;
}

for (const engine of availableEngines()) {
  describe(`createGzipScan() with the engine ${engine}`, () => {
    it("tells checkpoints without keeping them", () => {
      const told: number[] = [];
      using scan = createGzipScan({
        engine,
        spanSizeBytes: 500,
        keepsCheckpoints: false,
        onOutput: () => {},
        onCheckpoint: ({ compressedOffset }) => told.push(compressedOffset),
      });
      scan.push(small);
      assert.deepEqual(scan.finish().checkpoints, []);
      const { checkpoints } = scanAll(small, { engine, spanSizeBytes: 500 });
      assert.deepEqual(
        told,
        checkpoints.map(({ compressedOffset }) => compressedOffset),
      );
      assert.ok(told.length > 1);
    });

    for (const stream of awkwardStreams()) {
      it(`finds the classic checkpoints and all output: ${stream.name}`, () => {
        for (const spanSizeBytes of [1, 20000, 65536, 10000000]) {
          if (spanSizeBytes === 1 && stream.name !== "fixed codes") continue;
          const want = classicCheckpoints(stream.compressed, spanSizeBytes);
          const found = scanAll(stream.compressed, { engine, spanSizeBytes });
          assert.deepEqual(found.checkpoints, want);
          assert.equal(Buffer.compare(found.output, stream.plain), 0);
          assert.equal(found.compressedSizeBytes, stream.compressed.length);
          assert.equal(found.uncompressedSizeBytes, stream.plain.length);
        }
      });

      it(`does not depend on how the input is cut: ${stream.name}`, () => {
        const whole = scanAll(stream.compressed, { engine });
        for (const pieceBytes of [stream.compressed.length < 150000 ? 1 : 7, 4096, 65537]) {
          const found = scanAll(stream.compressed, { engine, pieceBytes });
          assert.deepEqual(found.checkpoints, whole.checkpoints);
          assert.equal(Buffer.compare(found.output, whole.output), 0);
        }
      });
    }

    it("takes a checkpoint only when strictly more than a span lies behind it", () => {
      const block = fileLikeBytes(5000, 3);
      const all = concatBytes([block, block, block]);
      const deflated = concatBytes([...Array(3).fill(storedBlock(block)), FINAL_EMPTY_BLOCK]);
      const stream = memberOf(deflated, all);
      const offsets = (spanSizeBytes: number): number[] =>
        scanAll(stream, { engine, spanSizeBytes }).checkpoints.map((c) => c.uncompressedOffset);
      assert.deepEqual(offsets(4999), [0, 5000, 10000, 15000]);
      assert.deepEqual(offsets(5000), [0, 10000]);
      assert.deepEqual(offsets(9999), [0, 10000]);
      assert.deepEqual(offsets(10000), [0, 15000]);
    });

    it("keeps windows of its own, zero-filled in front", () => {
      const { checkpoints } = scanAll(gzipSync(plain, { memLevel: 1 }), {
        engine,
        spanSizeBytes: 1,
      });
      const [first, second] = checkpoints;
      assert.ok(first && second);
      assert.deepEqual(first.window, new Uint8Array(WINDOW_BYTES));
      const want = new Uint8Array(WINDOW_BYTES);
      want.set(plain.subarray(0, second.uncompressedOffset), -second.uncompressedOffset + 32768);
      assert.deepEqual(second.window, want);
      assert.equal(second.window.buffer.byteLength, WINDOW_BYTES);
    });

    it("hands output over in slices of 64 KiB or more", () => {
      const bytes = fileLikeBytes(1500000, 5);
      const { slices } = scanAll(gzipSync(bytes), { engine, spanSizeBytes: 1e9, pieceBytes: 1000 });
      for (const slice of slices.slice(0, -1)) assert.ok(slice.length >= 65536);
    });

    it("tells of a checkpoint when all output before it has been handed over", () => {
      const stream = gzipSync(fileLikeBytes(300000, 5), { memLevel: 1 });
      let received = 0;
      const offsets: number[] = [];
      const scan = createGzipScan({
        engine,
        spanSizeBytes: 10000,
        onOutput: (bytes) => {
          received += bytes.length;
        },
        onCheckpoint: (checkpoint) => {
          assert.equal(received, checkpoint.uncompressedOffset);
          offsets.push(checkpoint.uncompressedOffset);
        },
      });
      scan.push(stream);
      const { checkpoints } = scan.finish();
      assert.ok(offsets.length > 10);
      assert.deepEqual(
        checkpoints.map((c) => c.uncompressedOffset),
        offsets,
      );
    });

    it("reads an empty member", () => {
      const found = scanAll(gzipSync(new Uint8Array(0)), { engine });
      assert.equal(found.uncompressedSizeBytes, 0);
      assert.deepEqual(
        found.checkpoints.map((c) => c.compressedOffset),
        [10],
      );
    });

    const emptyStarts: Record<string, Uint8Array> = {
      "an empty first block": memberOf(
        concatBytes([EMPTY_STORED_BLOCK, deflateRawSync(plain)]),
        plain,
      ),
      "an empty first member": concatBytes([gzipSync(new Uint8Array(0)), gzipSync(plain)]),
    };
    for (const [name, stream] of Object.entries(emptyStarts)) {
      it(`refuses, or merges if told to, ${name}`, () => {
        assert.equal(classicCheckpoints(stream, 20000).length, 2);
        assert.equal(failureOf(stream, { engine }).code, "unimplemented");
        const found = scanAll(stream, { engine, emptyStart: "merge" });
        assert.deepEqual(found.checkpoints, classicCheckpoints(stream, 20000).slice(0, 1));
        assert.deepEqual(found.output, plain);
      });
    }

    it("refuses more checkpoints than allowed", () => {
      const stream = gzipSync(fileLikeBytes(300000, 5), { memLevel: 1 });
      const error = failureOf(stream, { engine, spanSizeBytes: 1, maxCheckpoints: 20 });
      assert.equal(error.code, "resource_exhausted");
    });

    const member = memberOf(deflateRawSync(plain), plain);
    const damaged: readonly { name: string; stream: Uint8Array; offset?: number }[] = [
      { name: "nothing", stream: new Uint8Array(0), offset: 0 },
      { name: "zlib format", stream: deflateSync(plain), offset: 0 },
      { name: "another magic", stream: flip(member, 1), offset: 1 },
      { name: "another method", stream: flip(member, 2), offset: 2 },
      { name: "reserved flags", stream: flip(member, 3), offset: 3 },
      { name: "a wrong header CRC", stream: flip(fullHeader(), 8), offset: 32 },
      { name: "a wrong block type", stream: concatBytes([PLAIN_HEADER, Uint8Array.of(7)]) },
      { name: "a wrong CRC", stream: flip(member, member.length - 5), offset: member.length - 8 },
      {
        name: "a wrong length",
        stream: flip(member, member.length - 4),
        offset: member.length - 4,
      },
      {
        name: "a wrong CRC of a later member",
        stream: concatBytes([member, flip(member, member.length - 5), member]),
        offset: 2 * member.length - 8,
      },
      {
        name: "zeros after the last member",
        stream: concatBytes([member, new Uint8Array(512)]),
        offset: member.length,
      },
      {
        name: "a zlib stream after the last member",
        stream: concatBytes([member, deflateSync(plain)]),
        offset: member.length,
      },
      {
        name: "the start of a magic after the last member",
        stream: concatBytes([member, Uint8Array.of(0x1f)]),
        offset: member.length + 1,
      },
      {
        name: "a member that refers to the one before",
        stream: concatBytes([
          member,
          memberOf(deflateRawSync(plain, { dictionary: plain }), plain),
        ]),
      },
    ];
    for (const { name, stream, offset } of damaged) {
      it(`refuses ${name}`, () => {
        for (const pieceBytes of [1, 1000000]) {
          const error = failureOf(stream, { engine, pieceBytes });
          assert.ok(error instanceof FormatError);
          if (offset !== undefined) assert.equal(error.offset, offset);
        }
      });
    }

    it("refuses a stream cut at any byte, but not between members", () => {
      for (let length = 0; length < small.length; length++) {
        const cutStream = small.subarray(0, length);
        if (length === memberEnd) {
          assert.equal(scanAll(cutStream, { engine }).uncompressedSizeBytes, 1500);
          continue;
        }
        assert.ok(failureOf(cutStream, { engine }) instanceof FormatError);
      }
    });

    it("closes on finish, on dispose, and on an error of a callback", () => {
      const isClosed = { code: "failed_precondition" };
      const finished = createGzipScan({ engine, spanSizeBytes: 1000, onOutput: () => {} });
      assert.equal(finished.engine, engine);
      finished.push(small);
      finished.finish();
      assert.throws(() => finished.push(small), isClosed);
      assert.throws(() => finished.finish(), isClosed);
      finished[Symbol.dispose]();
      const thrower = createGzipScan({
        engine,
        spanSizeBytes: 100,
        onOutput: () => {
          throw new RangeError("enough");
        },
      });
      assert.throws(() => thrower.push(small), RangeError);
      assert.throws(() => thrower.push(small), isClosed);
    });

    const bombMebibytes = engine === "zlib" ? 1024 : 256;
    it(`streams a bomb of ${bombMebibytes} MiB in bounded memory`, () => {
      const bombBytes = bombMebibytes * 1048576;
      const mebibyte = new Uint8Array(1048576);
      const block = deflateRawSync(mebibyte, { finishFlush: constants.Z_FULL_FLUSH });
      let crc = 0;
      for (let count = 0; count < bombMebibytes; count++) crc = crc32(mebibyte, crc);
      const trailer = new DataView(trailerOf(new Uint8Array(0)).buffer);
      trailer.setUint32(0, crc, true);
      trailer.setUint32(4, bombBytes, true);
      let sizeBytes = 0;
      let peakBytes = 0;
      const before = process.memoryUsage().arrayBuffers;
      const scan = createGzipScan({
        engine,
        spanSizeBytes: 4194304,
        onOutput: (bytes) => {
          sizeBytes += bytes.length;
          assert.ok(bytes.length <= 1048576);
        },
      });
      const all = [PLAIN_HEADER, ...Array(bombMebibytes).fill(block), FINAL_EMPTY_BLOCK];
      for (const piece of [...all, new Uint8Array(trailer.buffer)]) {
        scan.push(piece);
        peakBytes = Math.max(peakBytes, process.memoryUsage().arrayBuffers - before);
      }
      const { checkpoints } = scan.finish();
      assert.equal(sizeBytes, bombBytes);
      assert.ok(peakBytes < checkpoints.length * WINDOW_BYTES + 16777216, `${peakBytes} bytes`);
    });
  });
}

describe("createGzipScan()", () => {
  it("ends the same way with every engine when bytes are changed at random", () => {
    const random = createRandom(42);
    const outcomeOf = (stream: Uint8Array, options: ScanAllOptions): unknown => {
      try {
        return scanAll(stream, { spanSizeBytes: 300, ...options }).checkpoints;
      } catch (error) {
        assert.ok(error instanceof AppError, `not an AppError: ${String(error)}`);
        return error.code;
      }
    };
    for (let round = 0; round < 3000; round++) {
      const changed = small.slice();
      const count = 1 + random(3);
      for (let index = 0; index < count; index++) {
        changed[random(changed.length)] = random(256);
      }
      const outcomes = availableEngines().map((engine) => outcomeOf(changed, { engine }));
      for (const outcome of outcomes) assert.deepEqual(outcome, outcomes[0], `round ${round}`);
    }
  });

  it("refuses a span size that is no positive integer", () => {
    for (const spanSizeBytes of [0, -1, 1.5, Number.NaN, 2 ** 53]) {
      assert.throws(() => createGzipScan({ spanSizeBytes, onOutput: () => {} }), {
        code: "invalid_argument",
      });
    }
  });
});
