import assert from "node:assert/strict";
import {
  existsSync,
  linkSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { gzipSync } from "node:zlib";
import { AppError, digestOf, type ErrorCode } from "@soci-ts/core";
import {
  findStreamedLayer,
  type LayerLimits,
  type LazyLayer,
  openLazyLayer,
  removeCachedBytes,
  streamLayer,
} from "./index.ts";
import type { StreamLayerOptions } from "./stream-layer.ts";
import { MemoryBlob } from "./testing/memory-blob.ts";
import { layerOfBlob, layerOfTar, makeTar, type TarLayer } from "./testing/tars.ts";
import { zstdBomb } from "./testing/zstd.ts";

const TAR = await makeTar(5_000_000, 1);
const KINDS = ["gzip", "zstd", "none"] as const;

function newDirectory(t: TestContext): string {
  const directory = mkdtempSync(join(tmpdir(), "soci-layer-"));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

function optionsFor(layer: TarLayer, directory: string) {
  const blob = new MemoryBlob(layer.blob);
  const options: StreamLayerOptions = {
    directory,
    descriptor: layer.descriptor,
    diffId: layer.diffId,
    open: (signal) => blob.stream(0, blob.size, { signal }),
  };
  return { options, blob };
}

async function openStreamed(
  t: TestContext,
  layer: TarLayer,
  options: StreamLayerOptions,
  limits: Partial<LayerLimits> = {},
): Promise<{ lazy: LazyLayer; blob: MemoryBlob; isReused: boolean }> {
  const streamed = await streamLayer(options);
  const blob = new MemoryBlob(layer.blob);
  const lazy = await openLazyLayer({
    directory: options.directory,
    layerDigest: layer.descriptor.digest,
    index: streamed.index,
    blob: streamed.blob ?? blob,
    limits,
  });
  t.after(() => lazy.close());
  return { lazy, blob, isReused: streamed.isReused };
}

async function checkWhole(lazy: LazyLayer, tar: Uint8Array): Promise<void> {
  for (let at = 0; at < lazy.size; at += 1_000_000) {
    const bytes = await lazy.readAt(at, Math.min(1_000_000, lazy.size - at));
    assert.ok(Buffer.from(bytes).equals(tar.subarray(at, at + bytes.length)), `at ${at}`);
  }
}

function hasCode(code: ErrorCode): (error: unknown) => boolean {
  return (error) => {
    assert.ok(error instanceof AppError, String(error));
    assert.equal(error.code, code, error.message);
    return true;
  };
}

/** Files below a directory, folders left out. */
function filesUnder(directory: string): string[] {
  return readdirSync(directory, { recursive: true, encoding: "utf8" })
    .filter((name) => statSync(join(directory, name)).isFile())
    .map((name) => name.split("/").slice(1).join("/"))
    .sort();
}

for (const kind of KINDS) {
  test(`streamLayer() makes a ${kind} layer whole in one pass, found again with no network`, async (t) => {
    const layer = layerOfTar(TAR, kind);
    const { options, blob } = optionsFor(layer, newDirectory(t));
    const first = await openStreamed(t, layer, options);
    assert.equal(first.isReused, false);
    await checkWhole(first.lazy, TAR);
    assert.deepEqual(filesUnder(options.directory), [
      "whole/data",
      "whole/index",
      "whole/presence",
      "whole/whole.json",
    ]);
    const again = await openStreamed(t, layer, {
      ...options,
      open: () => assert.fail("the network is not wanted"),
    });
    assert.equal(again.isReused, true);
    assert.deepEqual(again.lazy.stats().complete, true);
    await checkWhole(again.lazy, TAR);
    assert.equal(blob.seen.length, 1);
    assert.equal(again.blob.seen.length, 0);
    const data = join(
      options.directory,
      `sha256-${layer.descriptor.digest.slice(7)}`,
      "whole/data",
    );
    assert.equal(statSync(data).mode % 0o1000, 0o600);
  });

  test(`streamLayer() gives the same entries when it finds a ${kind} layer whole`, async (t) => {
    const { options } = optionsFor(layerOfTar(TAR, kind), newDirectory(t));
    const first = await streamLayer(options);
    const again = await streamLayer(options);
    assert.ok(first.entries.length > 4);
    assert.deepEqual(again.entries, first.entries);
    assert.deepEqual(again.index.spans, first.index.spans);
    assert.equal(again.isReused, true);
  });

  test(`a chunk of a streamed ${kind} layer that goes bad is mended`, async (t) => {
    const layer = layerOfTar(TAR, kind);
    const { options } = optionsFor(layer, newDirectory(t));
    const { lazy } = await openStreamed(t, layer, options, { maxReadAheadBytes: 0 });
    const data = join(
      options.directory,
      `sha256-${layer.descriptor.digest.slice(7)}`,
      "whole/data",
    );
    const bytes = readFileSync(data);
    bytes[4_500_000] = 255 - (bytes[4_500_000] ?? 0);
    writeFileSync(data, bytes);
    await checkWhole(lazy, TAR);
    assert.equal(lazy.stats().corruptChunks, 1);
    assert.equal(lazy.stats().requests, 1);
    await checkWhole(lazy, TAR);
    assert.equal(lazy.stats().requests, 1);
  });

  const mended = kind === "zstd" ? "streams it again" : "fetches what is gone";
  test(`streamLayer() of a ${kind} layer whose files are damaged ${mended}`, async (t) => {
    const layer = layerOfTar(TAR, kind);
    const { options } = optionsFor(layer, newDirectory(t));
    await streamLayer(options);
    const folder = join(options.directory, `sha256-${layer.descriptor.digest.slice(7)}`, "whole");
    const hasIndex = kind !== "zstd";
    for (const [damage, isReusable] of [
      [() => rmSync(join(folder, "index")), false],
      [() => rmSync(join(folder, "presence")), hasIndex],
      [() => rmSync(join(folder, "data")), true],
      [() => truncateSync(join(folder, "presence"), 300), hasIndex],
      [() => truncateSync(join(folder, "index"), 300), false],
      [() => truncateSync(join(folder, "index"), 0), false],
      [() => writeFileSync(join(folder, "index"), Buffer.alloc(5000, 7)), false],
    ] as const) {
      damage();
      const { isReused, lazy } = await openStreamed(t, layer, options);
      assert.equal(isReused, isReusable);
      await checkWhole(lazy, TAR);
      await lazy.close();
      assert.equal((await streamLayer(options)).isReused, true);
    }
  });
}

test("findStreamedLayer() opens a layer that has lost its bytes with no network, and they are fetched when they are read", async (t) => {
  const layer = layerOfTar(TAR, "gzip");
  const { options } = optionsFor(layer, newDirectory(t));
  assert.equal(await findStreamedLayer(options), undefined);
  await streamLayer(options);
  const folder = join(options.directory, `sha256-${layer.descriptor.digest.slice(7)}`, "whole");
  truncateSync(join(folder, "data"), 0);
  const found = await findStreamedLayer({
    ...options,
    open: () => assert.fail("the network is not wanted yet"),
  });
  assert.ok(found !== undefined);
  const lazy = await openLazyLayer({
    directory: options.directory,
    layerDigest: layer.descriptor.digest,
    index: found.index,
    blob: new MemoryBlob(layer.blob),
  });
  t.after(() => lazy.close());
  await checkWhole(lazy, TAR);
  rmSync(join(folder, "index"));
  assert.equal(await findStreamedLayer(options), undefined);
});

test("streamLayer() keeps nothing of a layer that is not what the image says", async (t) => {
  const good = layerOfTar(TAR, "gzip");
  const other = digestOf(Buffer.from("other"), "sha256");
  const rows: Record<string, Partial<StreamLayerOptions>> = {
    "another diffID": { diffId: other },
    "another digest": { descriptor: { ...good.descriptor, digest: other } },
    "a smaller size": { descriptor: { ...good.descriptor, size: good.blob.length - 1 } },
    "a larger size": { descriptor: { ...good.descriptor, size: good.blob.length + 1 } },
    "a flipped byte": {
      open: async function* open() {
        const bytes = Uint8Array.from(good.blob);
        bytes[4000] = 255 - (bytes[4000] ?? 0);
        yield bytes;
      },
    },
    "an early end": {
      open: async function* open() {
        yield good.blob.subarray(0, 100_000);
      },
    },
  };
  for (const [name, wrong] of Object.entries(rows)) {
    const { options } = optionsFor(good, newDirectory(t));
    const { digest } = wrong.descriptor ?? good.descriptor;
    await assert.rejects(streamLayer({ ...options, ...wrong }), (error: AppError) => {
      assert.equal(error.code, "data_loss", name);
      assert.ok(error.message.includes(digest), `${name}: ${error.message}`);
      return true;
    });
    assert.deepEqual(filesUnder(options.directory), [], name);
  }
  const { options } = optionsFor(good, newDirectory(t));
  await streamLayer(options);
  await assert.rejects(streamLayer({ ...options, diffId: other }), hasCode("data_loss"));
});

test("streamLayer() hands on the blob's failure and the signal's reason, and works afterwards", async (t) => {
  const layer = layerOfTar(TAR, "gzip");
  const { options, blob } = optionsFor(layer, newDirectory(t));
  blob.answer = (request) => {
    if (request > 0) return undefined;
    return async function* answer(bytes) {
      yield bytes.subarray(0, 50_000);
      throw new AppError("unavailable", "status 503");
    };
  };
  await assert.rejects(streamLayer(options), hasCode("unavailable"));
  const abort = new AbortController();
  const onProgress = (): void => abort.abort(new Error("enough"));
  await assert.rejects(streamLayer({ ...options, signal: abort.signal, onProgress }), /enough/);
  assert.deepEqual(filesUnder(options.directory), []);
  const { lazy } = await openStreamed(t, layer, options);
  await checkWhole(lazy, TAR);
});

test("streamLayer() keeps a layer whose entries no ztoc can hold", async (t) => {
  const tar = Buffer.from(TAR);
  // The first header's time, in base 256: some 30,000 years from now. Then its checksum.
  tar.write("\x80\0\0\0\0\0\0\xe0\0\0\0\0", 136, "latin1");
  tar.write("        ", 148, "latin1");
  const sum = tar.subarray(0, 512).reduce((total, byte) => total + byte, 0);
  tar.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148, "latin1");
  const { options } = optionsFor(layerOfTar(tar, "gzip"), newDirectory(t));
  const first = await streamLayer(options);
  assert.equal(first.entries[0]?.mtimeSec, 0xe0 * 2 ** 32);
  const again = await streamLayer(options);
  assert.equal(again.isReused, true);
  assert.deepEqual(again.entries, first.entries);
});

test("a damaged index file of a streamed layer never gives another index", async (t) => {
  const layer = layerOfTar(await makeTar(3000, 5), "none");
  const { options } = optionsFor(layer, newDirectory(t));
  const { index } = await streamLayer(options);
  const path = join(options.directory, `sha256-${layer.descriptor.digest.slice(7)}`, "whole/index");
  const whole = readFileSync(path);
  const check = async (bytes: Uint8Array): Promise<void> => {
    writeFileSync(path, bytes);
    const found = await streamLayer(options).catch((error: unknown) => {
      assert.ok(hasCode("failed_precondition")(error));
      return undefined;
    });
    if (found !== undefined) assert.deepEqual(found.index.spans, index.spans);
  };
  for (let length = 0; length < whole.length; length += 41) await check(whole.subarray(0, length));
  for (let at = 0; at < whole.length; at += 23) {
    const bytes = Buffer.from(whole);
    bytes[at] = 255 - (bytes[at] ?? 0);
    await check(bytes);
  }
});

test("streamLayer() verifies sha512 digests", async (t) => {
  const sha256Layer = layerOfTar(TAR, "gzip");
  const layer: TarLayer = {
    ...sha256Layer,
    descriptor: { ...sha256Layer.descriptor, digest: digestOf(sha256Layer.blob, "sha512") },
    diffId: digestOf(TAR, "sha512"),
  };
  const { options } = optionsFor(layer, newDirectory(t));
  const { lazy } = await openStreamed(t, layer, options);
  await checkWhole(lazy, TAR);
  assert.equal((await streamLayer(options)).isReused, true);
  const wrong = { ...options, directory: newDirectory(t), diffId: digestOf(layer.blob, "sha512") };
  await assert.rejects(streamLayer(wrong), hasCode("data_loss"));
});

test("streamLayer() refuses a bomb and an unknown media type", async (t) => {
  const mediaType = "application/vnd.oci.image.layer.v1.tar+zstd";
  const bomb = layerOfBlob(new Uint8Array(0), zstdBomb(16_384), mediaType);
  const { options } = optionsFor(bomb, newDirectory(t));
  await assert.rejects(streamLayer(options), hasCode("resource_exhausted"));
  assert.deepEqual(filesUnder(options.directory), []);
  const gzip = optionsFor(layerOfTar(TAR, "gzip"), newDirectory(t)).options;
  const small = { ...gzip, limits: { maxLayerBytes: TAR.length - 1 } };
  await assert.rejects(streamLayer(small), hasCode("resource_exhausted"));
  const odd = { ...gzip, descriptor: { ...gzip.descriptor, mediaType: "text/plain" } };
  await assert.rejects(streamLayer(odd), hasCode("unimplemented"));
});

test("streamLayer() takes a layer whose spans are too large to be inflated in memory", async (t) => {
  const zeros = await makeTar(1_000_000, 3);
  const tar = Buffer.concat([zeros.subarray(0, 1_000_448), new Uint8Array(10_000_000)]);
  const layer = layerOfBlob(
    tar,
    gzipSync(tar, { level: 9 }),
    "application/vnd.oci.image.layer.v1.tar+gzip",
  );
  const { options } = optionsFor(layer, newDirectory(t));
  const limits = { maxSpanBytes: 100_000 };
  const streamed = await streamLayer({ ...options, limits });
  assert.equal(streamed.index.compression, "none");
  assert.ok(streamed.blob !== undefined);
  const lazy = await openLazyLayer({
    directory: options.directory,
    layerDigest: layer.descriptor.digest,
    index: streamed.index,
    blob: streamed.blob,
  });
  t.after(() => lazy.close());
  assert.equal(lazy.stats().complete, true);
  assert.ok(Buffer.from(await lazy.readAt(0, 100_000)).equals(tar.subarray(0, 100_000)));
  const part = await streamed.blob.readAt(50_000, 70_000);
  assert.ok(Buffer.from(part).equals(tar.subarray(50_000, 120_000)));
});

test("streamLayer() does without a disk where the layer can be read in part", async (t) => {
  for (const kind of KINDS) {
    const layer = layerOfTar(TAR, kind);
    const { options } = optionsFor(layer, newDirectory(t));
    // A file where the folder should be.
    writeFileSync(join(options.directory, `sha256-${layer.descriptor.digest.slice(7)}`), "");
    if (kind === "zstd") {
      await assert.rejects(streamLayer(options), (error) =>
        AppError.from(error).message.startsWith("Cannot keep layer"),
      );
      continue;
    }
    const { lazy } = await openStreamed(t, layer, options);
    await checkWhole(lazy, TAR);
    assert.ok(lazy.stats().cacheErrors > 0);
    assert.equal(lazy.stats().cachedBytes, 0);
  }
});

test("two calls for one layer at once are fine", async (t) => {
  const layer = layerOfTar(TAR, "zstd");
  const { options } = optionsFor(layer, newDirectory(t));
  const both = [openStreamed(t, layer, options), openStreamed(t, layer, options)];
  for (const { lazy } of await Promise.all(both)) await checkWhole(lazy, TAR);
  assert.ok(existsSync(options.directory));
  assert.equal((await streamLayer(options)).isReused, true);
});

test("streamLayer() keeps the index of a layer whose bytes there is no room for", async (t) => {
  const layer = layerOfTar(TAR, "gzip");
  const { options } = optionsFor(layer, newDirectory(t));
  const folder = join(options.directory, `sha256-${layer.descriptor.digest.slice(7)}`, "whole");
  const { open } = options;
  await streamLayer({
    ...options,
    open: (signal) => {
      rmSync(join(folder, "data"));
      return open(signal);
    },
  });
  assert.deepEqual(readdirSync(folder), ["index"]);
  const again = await openStreamed(t, layer, {
    ...options,
    open: () => assert.fail("it is not streamed again"),
  });
  assert.equal(again.isReused, true);
  assert.equal(again.lazy.stats().complete, false);
  await checkWhole(again.lazy, TAR);
});

for (const kind of ["gzip", "none", "zstd"] as const) {
  test(`removeCachedBytes() of a streamed ${kind} layer leaves its index`, async (t) => {
    const layer = layerOfTar(TAR, kind);
    const { options } = optionsFor(layer, newDirectory(t));
    const { digest } = layer.descriptor;
    await streamLayer(options);
    const freedBytes = await removeCachedBytes(options.directory, digest);
    assert.ok(freedBytes >= TAR.length, `${freedBytes}`);
    // The verdict is of the file that is gone: it counts for no other, unless it was "wrong".
    assert.deepEqual(filesUnder(options.directory), ["whole/index", "whole/whole.json"]);
    assert.equal(await removeCachedBytes(options.directory, digest), 0);
    const { isReused, lazy } = await openStreamed(t, layer, options);
    assert.equal(isReused, kind !== "zstd");
    await checkWhole(lazy, TAR);
  });
}

test("removeCachedBytes() leaves what the kernel reads by another name, and what is being streamed", async (t) => {
  const layer = layerOfTar(TAR, "gzip");
  const { options } = optionsFor(layer, newDirectory(t));
  const { digest } = layer.descriptor;
  const folder = join(options.directory, `sha256-${digest.slice(7)}`, "whole");
  await streamLayer(options);
  linkSync(join(folder, "data"), join(options.directory, "second"));
  assert.equal(await removeCachedBytes(options.directory, digest), 0);
  assert.equal((await openStreamed(t, layer, options)).lazy.stats().complete, true);
  rmSync(join(options.directory, "second"));
  rmSync(join(folder, "index"));
  assert.equal(await removeCachedBytes(options.directory, digest), 0);
  assert.ok(existsSync(join(folder, "data")));
});
