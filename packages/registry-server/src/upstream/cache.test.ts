import assert from "node:assert/strict";
import { closeSync } from "node:fs";
import { truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, it } from "node:test";
import { type Digest, digestHex, sha256, silentLogger, silentMetrics } from "@soci-ts/core";
import { filesIn, freshFolder } from "../testing/harness.ts";
import { Cache } from "./cache.ts";

const options = { limitBytes: 1000, logger: silentLogger, metrics: silentMetrics };

async function put(cache: Cache, size: number, seed: number): Promise<Digest> {
  const bytes = Buffer.alloc(size, seed);
  const digest = sha256(bytes);
  const reservation = cache.reserve(size);
  assert.ok(reservation);
  const path = cache.partialPath();
  await writeFile(path, bytes);
  cache.admit(digest, path, { sizeBytes: size, mediaType: undefined });
  reservation.release();
  return digest;
}

describe("Cache", () => {
  it("evicts what was used longest ago, and never goes beyond its limit", async () => {
    await using folder = await freshFolder();
    await using cache = await Cache.open(folder.path, options);
    const first = await put(cache, 400, 1);
    const second = await put(cache, 400, 2);
    assert.ok(cache.find(first));
    const third = await put(cache, 300, 3);
    assert.deepEqual(
      [first, second, third].map((digest) => cache.find(digest) !== undefined),
      [true, false, true],
    );
    assert.equal(cache.usedBytes, 700);
    assert.equal((await filesIn(folder.path)).length, 2);
  });

  it("keeps what is being sent, and refuses space that it could only have from that", async () => {
    await using folder = await freshFolder();
    await using cache = await Cache.open(folder.path, options);
    const first = await put(cache, 600, 1);
    const opened = await cache.openFile(first);
    assert.ok(opened);
    assert.equal(cache.reserve(500), undefined);
    assert.ok(cache.find(first));
    assert.equal(cache.reserve(2000), undefined);
    closeSync(opened.descriptor);
    opened.release();
    opened.release();
    const reservation = cache.reserve(500);
    assert.ok(reservation);
    assert.equal(cache.find(first), undefined);
    assert.equal(cache.usedBytes, 500);
    reservation.release();
    assert.equal(cache.usedBytes, 0);
  });

  it("is as it was after a restart, in the same order, without what was unfinished or unknown", async () => {
    await using folder = await freshFolder();
    let digests: Digest[] = [];
    {
      await using cache = await Cache.open(folder.path, options);
      digests = [await put(cache, 300, 1), await put(cache, 300, 2), await put(cache, 300, 3)];
      cache.find(digests[0]!);
      await writeFile(cache.partialPath(), "unfinished");
      await writeFile(join(folder.path, "sha256", digestHex(sha256(Buffer.from("x")))), "x");
    }
    await using cache = await Cache.open(folder.path, options);
    assert.equal((await filesIn(folder.path)).length, 3);
    await put(cache, 300, 4);
    assert.deepEqual(
      digests.map((digest) => cache.find(digest) !== undefined),
      [true, false, true],
    );
  });

  it("forgets entries whose files are cut or gone", async () => {
    await using folder = await freshFolder();
    await using cache = await Cache.open(folder.path, options);
    const digest = await put(cache, 300, 1);
    await truncate(join(folder.path, "sha256", digestHex(digest)), 299);
    assert.equal(await cache.openFile(digest), undefined);
    assert.equal(cache.find(digest), undefined);
    assert.equal(cache.usedBytes, 0);
  });

  it("takes no space for a while after the disk was full", async () => {
    await using folder = await freshFolder();
    await using cache = await Cache.open(folder.path, options);
    cache.pause();
    assert.equal(cache.reserve(1), undefined);
  });
});
