import assert from "node:assert/strict";
import { deflateRawSync, gzipSync, inflateRawSync } from "node:zlib";
import { concatBytes } from "@soci-ts/core";
import { succeeds, testHostileReaders } from "@soci-ts/testkit";
import { availableEngines } from "./engines.ts";
import { inflateFrom, inflateHere } from "./resume.ts";
import { fileLikeBytes } from "./testing/random.ts";
import { type ScanRecord, scanAll } from "./testing/scan-all.ts";
import { fullHeader, memberOf, PLAIN_HEADER, trailerOf } from "./testing/streams.ts";
import { type Checkpoint, type EngineName, WINDOW_BYTES } from "./types.ts";

const PLAIN = fileLikeBytes(4_000, 3);
const SPAN_BYTES = 1_000;
const STREAMS = [
  gzipSync(PLAIN, { memLevel: 1 }),
  gzipSync(PLAIN.subarray(0, 2_000), { level: 0 }),
  memberOf(deflateRawSync(PLAIN.subarray(0, 900)), PLAIN.subarray(0, 900), fullHeader()),
  concatBytes([gzipSync(PLAIN.subarray(0, 1_500)), gzipSync(PLAIN.subarray(1_500))]),
];

/** Writes the trailer that fits what a damaged member inflates to now, if it does and has a plain header. */
function seal(stream: Uint8Array): void {
  try {
    const { buffer, engine } = inflateRawSync(stream.subarray(PLAIN_HEADER.length), {
      info: true,
    }) as unknown as { buffer: Buffer; engine: { bytesWritten: number } };
    const at = PLAIN_HEADER.length + engine.bytesWritten;
    if (at + 8 <= stream.length) stream.set(trailerOf(buffer), at);
  } catch {
    // It is no deflate any more: there is nothing to seal.
  }
}

/** What an engine made of a stream: the scan, or the code of its error. */
function outcome(stream: Uint8Array, engine: EngineName): ScanRecord | Error {
  try {
    return scanAll(stream, { engine, spanSizeBytes: SPAN_BYTES, pieceBytes: 700 });
  } catch (error) {
    if (error instanceof Error) return error;
    throw error;
  }
}

/** Both engines read the same, or refuse; checkpoints lie in order, and output is no more than deflate can give. */
function scanByAll(stream: Uint8Array): void {
  const [first, ...others] = availableEngines().map((engine) => outcome(stream, engine));
  assert.ok(first !== undefined);
  for (const other of others) assert.equal(other instanceof Error, first instanceof Error);
  if (first instanceof Error) throw first;
  for (const other of others) assert.deepEqual(other, first);
  assert.ok(first.uncompressedSizeBytes <= stream.length * 1032);
  let at = -1;
  for (const checkpoint of first.checkpoints) {
    assert.ok(checkpoint.uncompressedOffset > at && checkpoint.compressedOffset <= stream.length);
    at = checkpoint.uncompressedOffset;
  }
}

/** What a resume is given, in bytes: bits, wanted output, whether it is whole, window, compressed bytes. */
const RESUME_HEAD_BYTES = 6;

/** The span between a checkpoint and the next one or the stream's end. */
function resumeInput(stream: Uint8Array, scanned: ScanRecord, at: number): Uint8Array {
  const checkpoint = scanned.checkpoints[at] as Checkpoint;
  const next = scanned.checkpoints[at + 1];
  const outputEnd = next?.uncompressedOffset ?? scanned.uncompressedSizeBytes;
  const outputBytes = outputEnd - checkpoint.uncompressedOffset;
  const streamEnd = next?.compressedOffset ?? stream.length;
  const head = Buffer.alloc(RESUME_HEAD_BYTES);
  head.writeUInt8(checkpoint.bits, 0);
  head.writeUInt32LE(outputBytes, 1);
  const start = checkpoint.compressedOffset - (checkpoint.bits === 0 ? 0 : 1);
  return concatBytes([head, checkpoint.window, stream.subarray(start, streamEnd)]);
}

function resumeInputs(): Uint8Array[] {
  return STREAMS.flatMap((stream) => {
    const scanned = scanAll(stream, { spanSizeBytes: SPAN_BYTES });
    return scanned.checkpoints.slice(0, 2).map((_, at) => resumeInput(stream, scanned, at));
  });
}

/** The way by libuv's pool and the one in this thread give the same where both give something. */
async function resume(input: Uint8Array): Promise<void> {
  const window = new Uint8Array(WINDOW_BYTES);
  window.set(input.subarray(RESUME_HEAD_BYTES, RESUME_HEAD_BYTES + WINDOW_BYTES));
  const head = Buffer.alloc(RESUME_HEAD_BYTES);
  head.set(input.subarray(0, RESUME_HEAD_BYTES));
  const [bits, outputBytes, isWhole] = [head.readUInt8(0), head.readUInt32LE(1), head[5] === 1];
  const checkpoint = { compressedOffset: 10, uncompressedOffset: 0, bits, window };
  const compressed = input.subarray(RESUME_HEAD_BYTES + WINDOW_BYTES);
  const output = await inflateFrom(checkpoint, compressed, outputBytes, { isWhole });
  assert.equal(output.length, outputBytes);
  // It knows one member only, and no more than the span.
  succeeds(() => {
    const here = inflateHere(checkpoint, compressed, outputBytes, { isWhole });
    assert.deepEqual(Buffer.from(here), Buffer.from(output));
  });
}

testHostileReaders(new URL("../testdata/", import.meta.url), [
  {
    name: "gzip-scan",
    seeds: STREAMS,
    seal,
    tokens: ["\x1f\x8b\x08", "\x03\0", "\0\0\0\xff\xff"],
    read: scanByAll,
  },
  {
    name: "gzip-resume",
    seeds: resumeInputs(),
    hot: (seed) => [
      [0, RESUME_HEAD_BYTES],
      [RESUME_HEAD_BYTES + WINDOW_BYTES, seed.length],
    ],
    codes: ["invalid_argument"],
    read: resume,
  },
]);
