import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { deflateRawSync, gzipSync } from "node:zlib";
import { AppError, concatBytes, FormatError } from "@soci-ts/core";
import { inflateFrom, inflateHere, inflateRest } from "./resume.ts";
import { createRandom, fileLikeBytes } from "./testing/random.ts";
import { scanAll } from "./testing/scan-all.ts";
import { awkwardStreams, fullHeader, memberOf } from "./testing/streams.ts";
import type { Checkpoint } from "./types.ts";

/** Where a checkpoint's span begins in the compressed stream. */
function startOf(checkpoint: Checkpoint): number {
  return checkpoint.compressedOffset - (checkpoint.bits === 0 ? 0 : 1);
}

function isFormatError(error: unknown): boolean {
  return error instanceof FormatError;
}

const streams = awkwardStreams();

describe("inflateFrom()", () => {
  for (const { name, compressed, plain } of streams) {
    it(`gives each span exactly: ${name}`, async () => {
      const { checkpoints } = scanAll(compressed);
      for (const [index, checkpoint] of checkpoints.entries()) {
        const next = checkpoints[index + 1];
        const span = compressed.subarray(startOf(checkpoint), next?.compressedOffset);
        const want = plain.subarray(checkpoint.uncompressedOffset, next?.uncompressedOffset);
        const found = await inflateFrom(checkpoint, span, want.length);
        assert.equal(found.constructor, Uint8Array);
        assert.equal(Buffer.compare(found, want), 0, `span ${index}`);
        const whole = await inflateFrom(checkpoint, span, want.length, { isWhole: true });
        assert.equal(Buffer.compare(whole, want), 0, `span ${index}`);
        if (want.length > 1) {
          const less = inflateFrom(checkpoint, span, want.length - 1, { isWhole: true });
          await assert.rejects(less, isFormatError, `span ${index}`);
        }
        const half = await inflateFrom(checkpoint, span, want.length >> 1);
        assert.equal(Buffer.compare(half, want.subarray(0, want.length >> 1)), 0);
      }
    });
  }

  it("gives the same without leaving the thread, as far as one member goes", () => {
    for (const { name, compressed, plain } of streams) {
      const { checkpoints } = scanAll(compressed);
      let inflated = 0;
      for (const [index, checkpoint] of checkpoints.entries()) {
        const next = checkpoints[index + 1];
        const span = compressed.subarray(startOf(checkpoint), next?.compressedOffset);
        const want = plain.subarray(checkpoint.uncompressedOffset, next?.uncompressedOffset);
        try {
          const found = inflateHere(checkpoint, span, want.length, { isWhole: true });
          assert.equal(Buffer.compare(found, want), 0, `${name}: span ${index}`);
          inflated += 1;
        } catch (error) {
          assert.ok(isFormatError(error), String(error));
          assert.match(name, /member/i, `${name}: span ${index}: ${error}`);
          continue;
        }
        if (want.length > 1) {
          const less = (): unknown =>
            inflateHere(checkpoint, span, want.length - 1, { isWhole: true });
          assert.throws(less, isFormatError, `${name}: span ${index}`);
        }
      }
      assert.ok(inflated > 0 || name.includes("members"), name);
    }
  });

  it("gives all that follows a checkpoint, up to a limit", async () => {
    for (const { name, compressed, plain } of streams) {
      for (const checkpoint of scanAll(compressed).checkpoints) {
        const want = plain.subarray(checkpoint.uncompressedOffset);
        const rest = compressed.subarray(startOf(checkpoint));
        const found = await inflateRest(checkpoint, rest, want.length);
        assert.equal(Buffer.compare(found, want), 0, name);
        if (want.length === 0) continue;
        const less = inflateRest(checkpoint, rest, want.length - 1);
        await assert.rejects(less, { code: "resource_exhausted" });
      }
    }
  });

  it("resumes at every bit phase and inside every kind of stream", () => {
    const phases = new Set<number>();
    for (const { compressed } of streams) {
      for (const { bits } of scanAll(compressed).checkpoints) phases.add(bits);
    }
    assert.deepEqual([...phases].sort(), [0, 1, 2, 3, 4, 5, 6, 7]);
  });

  it("goes on to the end of the stream, whatever follows what is wanted", async () => {
    for (const { compressed, plain } of streams) {
      const middle = scanAll(compressed).checkpoints.at(-2);
      if (middle === undefined) continue;
      const rest = concatBytes([compressed.subarray(startOf(middle)), new Uint8Array(600)]);
      const want = plain.subarray(middle.uncompressedOffset);
      assert.equal(Buffer.compare(await inflateFrom(middle, rest, want.length), want), 0);
      await assert.rejects(inflateFrom(middle, rest, want.length + 1), isFormatError);
    }
  });

  const plain = fileLikeBytes(2500, 8);
  const parts = [plain.subarray(0, 900), plain.subarray(900, 1000), plain.subarray(1000)];
  const members = concatBytes(
    parts.map((part) => memberOf(deflateRawSync(part, { memLevel: 1 }), part, fullHeader())),
  );
  const first = scanAll(members, { spanSizeBytes: 100 }).checkpoints[0]!;
  const span = members.subarray(startOf(first));

  it("needs no more than a sufficient prefix, cut at any byte", async () => {
    const wanted = 1800;
    let sufficient = 0;
    for (let length = 0; length <= span.length; length++) {
      const found = await inflateFrom(first, span.subarray(0, length), wanted).catch((error) => {
        assert.ok(isFormatError(error), String(error));
      });
      if (found === undefined) assert.equal(sufficient, 0, `${length} bytes`);
      else {
        sufficient ||= length;
        assert.deepEqual(found, plain.subarray(0, wanted));
      }
    }
    assert.ok(sufficient > 0 && sufficient < span.length);
  });

  it("gives the wanted number of bytes or a FormatError when bytes are changed at random", async () => {
    const random = createRandom(99);
    const { compressed } = streams.find((stream) => stream.name === "small blocks")!;
    const { checkpoints } = scanAll(compressed, { spanSizeBytes: 3000 });
    let failures = 0;
    for (let round = 0; round < 1200; round++) {
      const checkpoint = round % 2 === 0 ? first : checkpoints[random(checkpoints.length)]!;
      const source = checkpoint === first ? members : compressed;
      const changed = source.slice(startOf(checkpoint), startOf(checkpoint) + 3000);
      changed[random(changed.length)] = random(256);
      const wanted = 1 + random(4000);
      const found = await inflateFrom(checkpoint, changed, wanted).catch((error) => {
        assert.ok(error instanceof FormatError, String(error));
        failures++;
      });
      if (found !== undefined) assert.equal(found.length, wanted);
    }
    assert.ok(failures > 100);
  });

  it("refuses a member with a wrong CRC if it lies wholly in the span", async () => {
    const broken = members.slice();
    const secondEnd =
      members.length -
      memberOf(deflateRawSync(parts[2]!, { memLevel: 1 }), parts[2]!, fullHeader()).length;
    broken[secondEnd - 8] = (broken[secondEnd - 8] ?? 0) ^ 1;
    const damaged = broken.subarray(startOf(first));
    await assert.rejects(inflateFrom(first, damaged, plain.length), { offset: startOf(first) });
    assert.deepEqual(await inflateFrom(first, damaged, 900), parts[0]);
  });

  it("takes no more memory than was asked for from a bomb", async () => {
    const bomb = gzipSync(new Uint8Array(268435456), { level: 1 });
    const start = scanAll(gzipSync(Uint8Array.of(1))).checkpoints[0]!;
    const before = process.memoryUsage().arrayBuffers;
    const found = await inflateFrom(start, bomb.subarray(10), 100000);
    assert.ok(process.memoryUsage().arrayBuffers - before < 1000000);
    assert.deepEqual(found, new Uint8Array(100000));
  });

  it("refuses at once what the compressed bytes can't give", async () => {
    const wanted = 2 ** 45;
    await assert.rejects(inflateFrom(first, span, wanted), isFormatError);
    await assert.rejects(inflateFrom(first, new Uint8Array(0), 1), isFormatError);
  });

  it("gives nothing for nothing", async () => {
    assert.deepEqual(await inflateFrom(first, new Uint8Array(0), 0), new Uint8Array(0));
  });

  it("refuses arguments that can't be", async () => {
    const bad: readonly [Partial<Checkpoint>, number][] = [
      [{ bits: 8 }, 1],
      [{ bits: -1 }, 1],
      [{ bits: 0.5 }, 1],
      [{ window: new Uint8Array(5) }, 1],
      [{}, -1],
      [{}, 1.5],
    ];
    for (const [change, wanted] of bad) {
      await assert.rejects(
        inflateFrom({ ...first, ...change }, span, wanted),
        (error) => error instanceof AppError && error.code === "invalid_argument",
      );
    }
  });
});
