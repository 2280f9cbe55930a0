import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { AppError, delay, type IoOptions, sha256, silentLogger } from "@soci-ts/core";
import type { RangeBlob } from "@soci-ts/lazy-layer";
import type { JsonValue } from "../mount-record.ts";
import { sourceBlobs } from "./source-blob.ts";
import { Sources } from "./sources.ts";

const BYTES = Uint8Array.from({ length: 100 }, (_, at) => at);
const DESCRIPTOR = { mediaType: "x", digest: sha256(BYTES), size: BYTES.length };

/** What a source does after some bytes: go on to the end, end early, or fail. */
interface Source {
  readonly stopAt: number;
  readonly how: "end" | "fail" | "hang";
}

/** A blob out of these sources, and the ranges that they were asked for. */
function blobOf(...sources: readonly Source[]): {
  readonly blob: RangeBlob;
  readonly asked: string[];
} {
  const asked: string[] = [];
  const opener = sourceBlobs({
    sources: async () => sources as unknown as readonly JsonValue[],
    openBlobs: async (source) => {
      const { stopAt, how } = source as unknown as Source;
      if (stopAt < 0) throw new AppError("not_found", "Cannot open: no such repository");
      const stream = async function* (
        start: number,
        end: number,
        { signal }: IoOptions = {},
      ): AsyncGenerator<Uint8Array> {
        asked.push(`${start}-${end}`);
        for (let at = start; at < Math.min(end, stopAt); at += 10) {
          yield BYTES.subarray(at, Math.min(at + 10, end, stopAt));
        }
        if (stopAt < end && how === "hang") await delay(60_000, signal);
        if (stopAt < end && how === "fail") throw new AppError("unavailable", "broken off");
      };
      return { openBlob: () => ({ size: 100, stream, readAt: async () => BYTES }) };
    },
    known: new Sources(),
    patienceMs: 50,
    logger: silentLogger,
  });
  return { blob: opener.openBlob(DESCRIPTOR), asked };
}

describe("sourceBlobs()", () => {
  it("reads from the first source that there is", async () => {
    const { blob, asked } = blobOf({ stopAt: 100, how: "end" }, { stopAt: 100, how: "end" });
    assert.equal(blob.size, 100);
    assert.deepEqual(await blob.readAt(5, 20), BYTES.slice(5, 25));
    assert.deepEqual(asked, ["5-25"]);
  });

  it("goes on with the next source where one failed or ended", async () => {
    for (const how of ["fail", "end"] as const) {
      const { blob, asked } = blobOf(
        { stopAt: -1, how },
        { stopAt: 33, how },
        { stopAt: 100, how: "end" },
      );
      assert.deepEqual(await blob.readAt(0, 100), BYTES);
      assert.deepEqual(asked, ["0-100", "33-100"], how);
    }
  });

  it("goes on with the next source where one says nothing, and asks that one last from then on", async () => {
    const { blob, asked } = blobOf({ stopAt: 30, how: "hang" }, { stopAt: 100, how: "end" });
    assert.deepEqual(await blob.readAt(0, 100), BYTES);
    assert.deepEqual(asked, ["0-100", "30-100"]);
    assert.deepEqual(await blob.readAt(50, 20), BYTES.slice(50, 70));
    assert.deepEqual(asked, ["0-100", "30-100", "50-70"]);
  });

  it("throws what the last one did, and never gives fewer bytes than asked for", async () => {
    const failing = blobOf({ stopAt: 20, how: "end" }, { stopAt: 30, how: "fail" });
    await assert.rejects(failing.blob.readAt(0, 100), { code: "unavailable" });
    const ending = blobOf({ stopAt: 30, how: "end" });
    await assert.rejects(ending.blob.readAt(0, 100), { code: "data_loss", message: /at 30/ });
    await assert.rejects(blobOf().blob.readAt(0, 100), { code: "failed_precondition" });
  });

  it("asks no other source when the reader has left", async () => {
    const { blob, asked } = blobOf({ stopAt: 30, how: "fail" }, { stopAt: 100, how: "end" });
    const abort = new AbortController();
    const read = async (): Promise<void> => {
      for await (const _ of blob.stream(0, 100, { signal: abort.signal })) {
        abort.abort(new Error("left"));
      }
    };
    await assert.rejects(read(), /left/);
    assert.deepEqual(asked, ["0-100"]);
  });
});
