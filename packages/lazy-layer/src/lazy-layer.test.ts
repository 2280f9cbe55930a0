import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { AppError, delay, type ErrorCode, FormatError } from "@soci-ts/core";
import { seededRandom } from "@soci-ts/testkit";
import { type LayerLimits, type LazyLayer, openLazyLayer } from "./index.ts";
import { LAYER_KINDS, type TestLayer, testLayer } from "./testing/layers.ts";
import {
  cutAnswer,
  flippedAnswer,
  hangingAnswer,
  MemoryBlob,
  type RangeAnswer,
} from "./testing/memory-blob.ts";

const SPAN = 100_000;
const SIZE = 1_500_123;
const LAYER = testLayer("gzip", SIZE, SPAN);
const NO_READ_AHEAD: Partial<LayerLimits> = { maxReadAheadBytes: 0 };

interface Opened {
  readonly layer: LazyLayer;
  readonly blob: MemoryBlob;
}

async function open(
  t: TestContext,
  options: {
    readonly of?: TestLayer;
    readonly limits?: Partial<LayerLimits>;
  } = {},
): Promise<Opened> {
  const { index, digest, blob: bytes } = options.of ?? LAYER;
  const directory = mkdtempSync(join(tmpdir(), "soci-layer-"));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  const blob = new MemoryBlob(bytes);
  const limits = { ...NO_READ_AHEAD, ...options.limits };
  const layer = await openLazyLayer({ directory, layerDigest: digest, index, blob, limits });
  t.after(() => layer.close());
  return { layer, blob };
}

function hasCode(code: ErrorCode): (error: unknown) => boolean {
  return (error) => {
    assert.ok(error instanceof AppError, String(error));
    assert.equal(error.code, code, error.message);
    return true;
  };
}

async function checkRead(layer: LazyLayer, truth: Uint8Array, at: number, length: number) {
  const bytes = await layer.readAt(at, length);
  assert.ok(Buffer.from(bytes).equals(truth.subarray(at, at + length)), `${length} bytes at ${at}`);
}

/** A span is written to the cache after those who wait for it are served. */
async function untilComplete(layer: LazyLayer): Promise<void> {
  for (let turn = 0; turn < 1000 && !layer.stats().complete; turn += 1) await delay(2);
  assert.ok(layer.stats().complete);
}

/** Answers request number `n` with `answers[n]`, later ones plainly. */
function answersInOrder(blob: MemoryBlob, answers: readonly (RangeAnswer | undefined)[]): void {
  blob.answer = (request) => answers[request];
}

for (const kind of LAYER_KINDS) {
  test(`readAt() gives the layer's bytes at any offset: ${kind}`, async (t) => {
    const of = testLayer(kind, SIZE, SPAN);
    const { layer, blob } = await open(t, { of });
    assert.ok(of.index.spans.length > 2, `${of.index.spans.length} spans`);
    const random = seededRandom(3);
    for (let turn = 0; turn < 150; turn += 1) {
      const at = Math.floor(random() * SIZE);
      const length = Math.floor(random() * Math.min(SIZE - at, turn % 5 === 0 ? 700_000 : 5000));
      await checkRead(layer, of.truth, at, length);
    }
    await checkRead(layer, of.truth, 0, SIZE);
    await untilComplete(layer);
    const { cachedBytes, bytesFetched } = layer.stats();
    assert.equal(cachedBytes, SIZE);
    assert.equal(bytesFetched, blob.bytesSent);
    const before = blob.seen.length;
    await checkRead(layer, of.truth, 0, SIZE);
    assert.equal(blob.seen.length, before);
  });
}

test("size is the tar's length rounded up to 512, and the bytes beyond the tar are zero", async (t) => {
  const { layer } = await open(t);
  assert.equal(layer.size, Math.ceil(SIZE / 512) * 512);
  const tail = await layer.readAt(SIZE - 3, layer.size - SIZE + 3);
  assert.deepEqual([...tail.subarray(0, 3)], [...LAYER.truth.subarray(SIZE - 3)]);
  assert.ok(tail.subarray(3).every((byte) => byte === 0));
  assert.ok((await layer.readAt(SIZE, layer.size - SIZE)).every((byte) => byte === 0));
  assert.equal((await layer.readAt(layer.size, 0)).length, 0);
  for (const [at, length] of [
    [layer.size, 1],
    [-1, 1],
    [0, -1],
    [0, layer.size + 1],
  ] as const) {
    await assert.rejects(layer.readAt(at, length), hasCode("out_of_range"));
  }
});

test("a read of neighbouring absent spans makes one request, and of what is there none", async (t) => {
  const { layer, blob } = await open(t);
  await checkRead(layer, LAYER.truth, 250_000, 500_000);
  assert.equal(blob.seen.length, 1);
  await checkRead(layer, LAYER.truth, 260_000, 400_000);
  assert.equal(blob.seen.length, 1);
  await checkRead(layer, LAYER.truth, 0, SIZE);
  assert.equal(blob.seen.length, 3, "one before and one after what was there");
  // Neighbouring spans may share the byte on their border.
  assert.ok(blob.bytesSent <= LAYER.blob.length + 3);
});

test("100 readers of overlapping ranges fetch each byte once", async (t) => {
  const { layer, blob } = await open(t);
  const random = seededRandom(9);
  const reads = Array.from({ length: 100 }, () => {
    const at = Math.floor(random() * (SIZE - 200_000));
    return checkRead(layer, LAYER.truth, at, 1 + Math.floor(random() * 200_000));
  });
  await Promise.all(reads);
  const covered = blob.seen.toSorted((a, b) => a.start - b.start);
  for (const [at, { start }] of covered.entries()) {
    assert.ok(start >= (covered[at - 1]?.end ?? 0) - 1, "two requests for the same bytes");
  }
  assert.ok(blob.seen.length <= 4, `${blob.seen.length} requests`);
});

test("a long run is split into requests of bounded size, and in-flight bytes are bounded", async (t) => {
  const limits = { maxRequestBytes: 150_000, maxRequests: 2, maxInFlightBytes: 200_000 };
  const { layer, blob } = await open(t, { limits });
  await checkRead(layer, LAYER.truth, 0, SIZE);
  const longest = Math.max(...LAYER.index.spans.map((it) => it.compressedEnd - it.compressedStart));
  for (const { start, end } of blob.seen) assert.ok(end - start <= 150_000 + longest);
  assert.ok(blob.seen.length > 2);
});

test("a waiting read is served as soon as its span is there, not when the request ends", async (t) => {
  const { layer, blob } = await open(t);
  const [, first, second] = LAYER.index.spans;
  const firstLength = first!.compressedEnd - first!.compressedStart;
  answersInOrder(blob, [hangingAnswer(firstLength + 100)]);
  const both = layer.readAt(
    first!.uncompressedStart,
    second!.uncompressedEnd - first!.uncompressedStart,
  );
  both.catch(() => {});
  await checkRead(layer, LAYER.truth, first!.uncompressedStart + 5, 1000);
  assert.equal(blob.seen.length, 1);
  await layer.close();
  await assert.rejects(both, hasCode("cancelled"));
});

test("failed, cut and stalled requests are repeated once, from where they stopped", async (t) => {
  const failure = new AppError("unavailable", "status 503");
  const rows: readonly (readonly [string, RangeAnswer])[] = [
    ["failed at once", cutAnswer(0, failure)],
    ["failed midway", cutAnswer(200_000, failure)],
    ["foreign error", cutAnswer(10, new Error("socket hang up"))],
    ["ended early", cutAnswer(200_000)],
    ["stalled", hangingAnswer(100_000)],
    ["stalled and deaf", hangingAnswer(1, { isDeaf: true })],
  ];
  for (const [name, answer] of rows) {
    const { layer, blob } = await open(t, { limits: { stallTimeoutMs: 50 } });
    answersInOrder(blob, [answer]);
    await checkRead(layer, LAYER.truth, 0, SIZE);
    assert.equal(blob.seen.length, 2, name);
    const kept = blob.seen[1]!.start - blob.seen[0]!.start;
    assert.ok(kept <= blob.seen[0]!.sentBytes && kept >= blob.seen[0]!.sentBytes - SPAN, name);
  }
});

test("a read fails with what the blob says when that lasts, at once when it comes again, and works seconds later", async (t) => {
  t.mock.timers.enable({ apis: ["Date"], now: 1e12 });
  const rows: readonly (readonly [ErrorCode, RangeAnswer, number])[] = [
    ["unavailable", cutAnswer(0, new AppError("unavailable", "status 503")), 2],
    ["unauthenticated", cutAnswer(0, new AppError("unauthenticated", "status 401")), 1],
    ["not_found", cutAnswer(0, new AppError("not_found", "status 404")), 1],
    ["unavailable", cutAnswer(7), 2],
    ["deadline_exceeded", hangingAnswer(3), 2],
    ["deadline_exceeded", hangingAnswer(0, { isDeaf: true }), 2],
  ];
  for (const [code, answer, requests] of rows) {
    const { layer, blob } = await open(t, { limits: { stallTimeoutMs: 30 } });
    blob.answer = () => answer;
    await assert.rejects(layer.readAt(5, 100), hasCode(code));
    await assert.rejects(layer.readAt(5, 100), hasCode(code));
    assert.equal(blob.seen.length, requests, code);
    blob.answer = () => undefined;
    t.mock.timers.tick(3500);
    await checkRead(layer, LAYER.truth, 5, 100);
  }
});

test("a read has a deadline of its own; who asks again does not wait for another one, and seconds later it works", async (t) => {
  t.mock.timers.enable({ apis: ["Date"] });
  const { layer, blob } = await open(t, { limits: { readTimeoutMs: 500 } });
  answersInOrder(blob, [hangingAnswer(10)]);
  await assert.rejects(layer.readAt(0, 10), hasCode("deadline_exceeded"));
  assert.equal(blob.seen[0]!.isAbandoned, true);
  await assert.rejects(layer.readAt(0, 10), hasCode("deadline_exceeded"));
  await assert.rejects(layer.readAt(LAYER.truth.length - 10, 10), hasCode("deadline_exceeded"));
  assert.equal(blob.seen.length, 1);
  t.mock.timers.tick(3500);
  await checkRead(layer, LAYER.truth, 0, 10);
});

test("a span that comes after one reader's deadline is there for all", async (t) => {
  const { layer, blob } = await open(t);
  let answer: () => void = () => {};
  const answered = new Promise<void>((resolve) => {
    answer = resolve;
  });
  blob.answer = () =>
    async function* (bytes) {
      await answered;
      yield bytes;
    };
  const late = new AbortController();
  const impatient = layer.readAt(0, 10, { signal: late.signal });
  const patient = checkRead(layer, LAYER.truth, 0, 10);
  late.abort(new AppError("deadline_exceeded", "late"));
  await assert.rejects(impatient, hasCode("deadline_exceeded"));
  answer();
  await patient;
  await checkRead(layer, LAYER.truth, 0, 10);
});

test("wrong bytes are fetched once more, from elsewhere if it can be, and are never data", async (t) => {
  const { layer, blob } = await open(t);
  const [, span] = LAYER.index.spans;
  answersInOrder(blob, [flippedAnswer(77)]);
  await checkRead(layer, LAYER.truth, span!.uncompressedStart, 300_000);
  assert.equal(blob.seen.length, 2);
  assert.equal(blob.distrusted, 1);
  assert.deepEqual(
    [blob.seen[1]!.start, blob.seen[1]!.end],
    [span!.compressedStart, span!.compressedEnd],
  );
});

test("bytes that stay wrong are data_loss with layer, span and offset, remembered for seconds", async (t) => {
  t.mock.timers.enable({ apis: ["Date"], now: 1e12 });
  const { layer, blob } = await open(t);
  const span = LAYER.index.spans[3]!;
  blob.answer = () => flippedAnswer(0);
  const expected = (error: unknown): boolean => {
    assert.ok(error instanceof AppError);
    assert.equal(error.code, "data_loss");
    assert.equal(error.details["span"], 3);
    assert.equal(error.details["offset"], span.compressedStart);
    for (const part of [LAYER.digest, span.digest, "span 3", String(span.compressedStart)]) {
      assert.ok(error.message.includes(part), error.message);
    }
    return true;
  };
  await assert.rejects(layer.readAt(span.uncompressedStart, 10), expected);
  assert.equal(blob.seen.length, 2);
  await assert.rejects(layer.readAt(span.uncompressedStart, 10), expected);
  assert.equal(blob.seen.length, 2);
  blob.answer = () => undefined;
  t.mock.timers.tick(3500);
  await checkRead(layer, LAYER.truth, span.uncompressedStart, 10);
});

test("one bad span fails only the reads that need it", async (t) => {
  const { layer, blob } = await open(t);
  const span = LAYER.index.spans[3]!;
  blob.answer = (_request, start) => {
    const inside = span.compressedStart + 20 - start;
    return inside >= 0 && inside < 1_000_000 ? flippedAnswer(inside) : undefined;
  };
  const whole = assert.rejects(layer.readAt(0, SIZE), hasCode("data_loss"));
  await checkRead(layer, LAYER.truth, 0, span.uncompressedStart);
  await checkRead(layer, LAYER.truth, span.uncompressedEnd, SIZE - span.uncompressedEnd);
  await whole;
});

test("an index whose checkpoint is not of the layer is data_loss", async (t) => {
  const at = LAYER.index.checkpoints.findIndex(({ bits }) => bits > 0);
  const checkpoints = LAYER.index.checkpoints.map((it, here) =>
    here === at ? { ...it, bits: (it.bits % 7) + 1 } : it,
  );
  const { layer } = await open(t, { of: { ...LAYER, index: { ...LAYER.index, checkpoints } } });
  const { uncompressedStart } = LAYER.index.spans[at]!;
  await assert.rejects(layer.readAt(uncompressedStart, 10_000), (error) => {
    assert.ok(hasCode("data_loss")(error));
    assert.equal((error as AppError).details["span"], at);
    return true;
  });
  const other = LAYER.index.spans[at + 1]!;
  await checkRead(layer, LAYER.truth, other.uncompressedStart, 10_000);
});

test("an index that says of a span that it is shorter is data_loss there", async (t) => {
  const at = 3;
  const shift = (offset: number, here: number): number => (here < at ? offset : offset - 512);
  const spans = LAYER.index.spans.map((it, here) => ({
    ...it,
    uncompressedStart: shift(it.uncompressedStart, here),
    uncompressedEnd: shift(it.uncompressedEnd, here + 1),
  }));
  const checkpoints = LAYER.index.checkpoints.map((it, here) => ({
    ...it,
    uncompressedOffset: shift(it.uncompressedOffset, here),
  }));
  const uncompressedSizeBytes = LAYER.index.uncompressedSizeBytes - 512;
  const index = { ...LAYER.index, spans, checkpoints, uncompressedSizeBytes };
  const { layer } = await open(t, { of: { ...LAYER, index } });
  await assert.rejects(layer.readAt(spans[at - 1]!.uncompressedStart, 10), hasCode("data_loss"));
});

test("an abort ends the read, and the request when nobody else waits", async (t) => {
  const { layer, blob } = await open(t);
  blob.answer = () => hangingAnswer(10);
  const aborts = [new AbortController(), new AbortController()];
  const reads = aborts.map(({ signal }) => layer.readAt(0, 10, { signal }));
  const outcomes = Promise.allSettled(reads);
  await delay(20);
  assert.equal(blob.seen.length, 1);
  aborts[0]!.abort(new Error("enough"));
  await assert.rejects(reads[0]!, /enough/);
  assert.equal(blob.seen[0]!.isAbandoned, true);
  const isSent = await Promise.race([
    reads[1],
    new Promise((done) => setTimeout(done, 20, "waits")),
  ]);
  assert.equal(isSent, "waits");
  aborts[1]!.abort(new Error("enough too"));
  await outcomes;
  blob.answer = () => undefined;
  await checkRead(layer, LAYER.truth, 0, 10);
  await assert.rejects(
    layer.readAt(0, 1, { signal: AbortSignal.abort(new Error("at once")) }),
    /at once/,
  );
});

test("close() ends reads, can be repeated, and a closed layer refuses reads", async (t) => {
  const { layer, blob } = await open(t, { limits: { maxRequests: 1 } });
  blob.answer = () => hangingAnswer(10, { isDeaf: true });
  const reads = [layer.readAt(0, 10), layer.readAt(SIZE - 10, 10)].map((read) =>
    assert.rejects(read, hasCode("cancelled")),
  );
  await delay(20);
  await Promise.all([layer.close(), layer.close(), ...reads]);
  await assert.rejects(layer.readAt(0, 10), hasCode("cancelled"));
});

test("read-ahead runs before a reader in order, in few requests, and not before a random one", async (t) => {
  const of = testLayer("gzip fast", 24_000_000, 500_000);
  const sequential = await open(t, { of, limits: { maxReadAheadBytes: 8_000_000 } });
  for (let at = 0; at < of.truth.length; at += 131_072) {
    await checkRead(sequential.layer, of.truth, at, Math.min(131_072, of.truth.length - at));
  }
  const { readAheadSpans, bytesFetched } = sequential.layer.stats();
  const spans = of.index.spans.length;
  assert.ok(readAheadSpans > spans / 2, `${readAheadSpans} of ${spans} spans`);
  assert.ok(sequential.blob.seen.length < 18, `${sequential.blob.seen.length} requests`);
  assert.ok(bytesFetched <= of.blob.length + spans);
  const random = await open(t, { of, limits: { maxReadAheadBytes: 8_000_000 } });
  const next = seededRandom(5);
  for (let turn = 0; turn < 30; turn += 1) {
    await checkRead(random.layer, of.truth, Math.floor(next() * 23_000_000), 4096);
  }
  assert.equal(random.layer.stats().readAheadSpans, 0);
});

test("openLazyLayer() refuses an index that does not hang together or is not of the blob", async (t) => {
  const { index } = LAYER;
  const span = index.spans[2]!;
  const withSpan = (change: Partial<typeof span>) => ({
    ...index,
    spans: index.spans.map((it, at) => (at === 2 ? { ...it, ...change } : it)),
  });
  const bad: Record<string, typeof index> = {
    "other blob size": { ...index, compressedSizeBytes: index.compressedSizeBytes + 1 },
    "too few checkpoints": { ...index, checkpoints: index.checkpoints.slice(1) },
    "tar longer than its spans": { ...index, uncompressedSizeBytes: SIZE + 1 },
    "no spans": { ...index, spans: [], checkpoints: [] },
    "gap in the tar": withSpan({ uncompressedStart: span.uncompressedStart + 1 }),
    "gap in the blob": withSpan({ compressedStart: span.compressedStart + 1 }),
    "overlap in the blob": withSpan({ compressedStart: span.compressedStart - 2 }),
    "beyond the blob": withSpan({ compressedEnd: index.compressedSizeBytes + 1 }),
    backwards: withSpan({ compressedEnd: span.compressedStart - 1 }),
    "not a number": withSpan({ compressedStart: Number.NaN }),
    negative: withSpan({ compressedStart: -1 }),
    "window too short": {
      ...index,
      checkpoints: index.checkpoints.map((it) => ({ ...it, window: new Uint8Array(3) })),
    },
    "plain index for gzip": { ...index, compression: "none", checkpoints: [] },
  };
  for (const [name, wrong] of Object.entries(bad)) {
    await assert.rejects(open(t, { of: { ...LAYER, index: wrong } }), FormatError, name);
  }
  for (const limits of [{ maxSpanBytes: SPAN }, { maxLayerBytes: SIZE - 1 }]) {
    await assert.rejects(open(t, { limits }), hasCode("resource_exhausted"));
  }
});
