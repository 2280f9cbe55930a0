import assert from "node:assert/strict";
import { after, describe, it } from "node:test";
import { setImmediate } from "node:timers/promises";
import { gzipSync } from "node:zlib";
import { AppError, concatBytes, digestOf, sha256 } from "@soci-ts/core";
import { buildTar, seededBytes } from "@soci-ts/testkit";
import { failure, fileItems } from "../testing/fixtures.ts";
import { LayerThreads } from "./layer-threads.ts";
import { scanHere } from "./scan-here.ts";
import type { BlobStream, MadeZtoc, ScanTask, ZtocUse } from "./scan-layer.ts";

const TAR = await buildTar(fileItems("etc/data", 6_000_000));
const GZIP = gzipSync(TAR, { level: 1 });
const PIECE = 50_000;

interface Sample {
  readonly blob: Uint8Array;
  readonly task: ScanTask;
}

function sample(tar: Uint8Array, blob: Uint8Array): Sample {
  return {
    blob,
    task: {
      compression: blob === tar ? "none" : "gzip",
      spanSizeBytes: 65_536,
      engine: undefined,
      layerDigest: sha256(blob),
      diffId: sha256(tar),
    },
  };
}

async function* piecesOf(blob: Uint8Array): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < blob.length; at += PIECE) {
    await setImmediate();
    yield blob.subarray(at, at + PIECE);
  }
}

/** A ztoc in one piece. */
async function use({ digest, sizeBytes, pieces }: MadeZtoc) {
  const ztoc: Uint8Array[] = [];
  for await (const piece of pieces) ztoc.push(piece);
  const bytes = concatBytes(ztoc);
  assert.equal(bytes.length, sizeBytes);
  return { digest, ztoc: bytes };
}

describe("LayerThreads", () => {
  const threads = new LayerThreads(2);
  const scan = ({ task, blob }: Sample) =>
    threads.run(() => threads.scan(task, () => piecesOf(blob), { use }), {});
  after(() => threads[Symbol.asyncDispose]());

  it("gives the ztocs that the calling thread would make, several layers at a time", async () => {
    const withOtherDigests = sample(TAR, GZIP);
    const samples: Sample[] = [
      sample(TAR, GZIP),
      sample(TAR, TAR),
      { ...withOtherDigests, task: { ...withOtherDigests.task, engine: "pako" } },
      {
        ...withOtherDigests,
        task: {
          ...withOtherDigests.task,
          layerDigest: digestOf(GZIP, "sha512"),
          diffId: digestOf(TAR, "sha512"),
        },
      },
    ];
    const scanned = await Promise.all(samples.map(scan));
    for (const [at, { task, blob }] of samples.entries()) {
      const want = await scanHere(task, () => piecesOf(blob), { use });
      assert.deepEqual(scanned[at], want);
    }
  });

  it("has a stream fill the threads' memory where that asks for room", async () => {
    const { task, blob } = sample(TAR, GZIP);
    let asked = 0;
    const filling: BlobStream = async function* (room) {
      for (let at = 0; at < blob.length; ) {
        const memory = await room?.();
        assert.ok(memory?.buffer instanceof SharedArrayBuffer);
        const piece = blob.subarray(at, at + Math.min(memory.length, PIECE));
        memory.set(piece);
        asked += 1;
        at += piece.length;
        yield memory.subarray(0, piece.length);
      }
    };
    const made = await threads.scan(task, filling, { use });
    assert.deepEqual(made, await scanHere(task, () => piecesOf(blob), { use }));
    assert.ok(asked >= blob.length / PIECE);
  });

  it("tells why a layer has no ztoc, and goes on with the next", async () => {
    const good = sample(TAR, GZIP);
    const broken = Uint8Array.from(GZIP);
    broken.fill(0xff, 100_000, 100_100);
    for (const [bad, message] of [
      [{ ...good, blob: broken }, /gzip at offset/],
      [{ ...good, blob: GZIP.subarray(0, -20) }, /gzip at offset/],
      [{ ...good, task: { ...good.task, layerDigest: good.task.diffId } }, /the blob/],
      [{ ...good, task: { ...good.task, diffId: good.task.layerDigest } }, /diffID/],
    ] as const) {
      await assert.rejects(scan(bad), failure("data_loss", message));
      assert.equal((await scan(good)).digest, sha256((await scan(good)).ztoc));
    }
  });

  it("serves on when a ztoc was not read, or not to its end, and says why it could not be used", async () => {
    const { task, blob } = sample(TAR, GZIP);
    const other = async (unread: ZtocUse<string>): Promise<string> =>
      await threads.scan(task, () => piecesOf(blob), { use: unread });
    const want = await scanHere(task, () => piecesOf(blob), { use });
    assert.equal(await other(async () => "not at all"), "not at all");
    const first = async ({ pieces }: MadeZtoc): Promise<string> => {
      for await (const piece of pieces) return `${piece.length}`;
      return "none";
    };
    assert.equal(await other(first), String(Math.min(want.ztoc.length, 1_048_576)));
    const full = other(() => Promise.reject(new AppError("resource_exhausted", "disk full")));
    await assert.rejects(full, failure("resource_exhausted", /disk full/));
    assert.deepEqual(await scan({ task, blob }), want);
  });

  it("says when reading the stream is what failed", async () => {
    const { task, blob } = sample(TAR, GZIP);
    async function* failing(): AsyncGenerator<Uint8Array> {
      yield blob.subarray(0, PIECE);
      throw new AppError("unavailable", "gone");
    }
    let failures = 0;
    const onInputFailure = (): void => {
      failures += 1;
    };
    const scanning = threads.scan(task, failing, { use, onInputFailure });
    await assert.rejects(scanning, failure("unavailable", /gone/));
    assert.equal(failures, 1);
  });

  it("takes from a fast source only what it can hold", async () => {
    const tar = await buildTar([
      { name: "zeros", content: new Uint8Array(1_000_000) },
      ...fileItems("data", 20_000_000),
    ]);
    const { task, blob } = sample(tar, tar);
    let taken = 0;
    let ahead = 0;
    async function* fast(): AsyncGenerator<Uint8Array> {
      for (; taken < blob.length; taken += PIECE) yield blob.subarray(taken, taken + PIECE);
    }
    let done = 0;
    const onBytes = (bytes: number): void => {
      assert.ok(bytes > done);
      done = bytes;
      ahead = Math.max(ahead, taken - bytes);
    };
    await threads.scan(task, fast, { use, onBytes });
    assert.ok(done > blob.length / 2, `told of ${done}`);
    // The ring's two mebibytes, and what was worked through while its news was on the way.
    assert.ok(ahead < blob.length / 2, `${ahead} bytes taken ahead`);
  });

  it("ends at once when aborted, although the stream goes on", async () => {
    const { task, blob } = sample(TAR, GZIP);
    const abort = new AbortController();
    async function* endless(): AsyncGenerator<Uint8Array> {
      yield blob.subarray(0, PIECE);
      abort.abort(new AppError("cancelled", "enough"));
      await new Promise(() => {});
    }
    const scanning = threads.scan(task, endless, { use, signal: abort.signal });
    await assert.rejects(scanning, failure("cancelled", /enough/));
  });

  it("ends what is under way when it is closed", async () => {
    const own = new LayerThreads(1);
    const { task } = sample(TAR, GZIP);
    let begun: () => void = () => {};
    const started = new Promise<void>((resolve) => {
      begun = resolve;
    });
    async function* endless(): AsyncGenerator<Uint8Array> {
      for (;;) {
        yield seededBytes(10, 1);
        begun();
        await new Promise(() => {});
      }
    }
    const scanning = own.scan(task, endless, { use });
    await started;
    await own[Symbol.asyncDispose]();
    await assert.rejects(scanning, failure("internal", /ended/));
  });
});
