import assert from "node:assert/strict";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { describe, it } from "node:test";
import { AppError, type LogFields, type Logger, sha256, silentLogger } from "@soci-ts/core";
import type { SpanRange } from "@soci-ts/layer-index";
import { encodePrefetchList } from "@soci-ts/soci";
import { readPrefetchFile } from "../prefetch-file.ts";
import { temporary } from "../testing/temporary.ts";
import type { ImageIndex, LookUpOptions } from "./image-index.ts";
import { PrefetchLists, prefetchPath } from "./prefetch-lists.ts";

const LAYER = { mediaType: "a/b", digest: sha256(Buffer.from("layer")), size: 1 };
const OTHER = { mediaType: "a/b", digest: sha256(Buffer.from("other")), size: 1 };
const RANGES = [{ startSpan: 1, endSpan: 3 }];
const SPANS = 10;

interface Bench extends AsyncDisposable {
  readonly directory: string;
  readonly warnings: LogFields[];
  /** The lists of two layers, of which the first has one whose blob is this. */
  start(blob: () => Promise<Uint8Array>, sizeBytes?: number): PrefetchLists;
}

async function open(): Promise<Bench> {
  const scratch = await temporary();
  const warnings: LogFields[] = [];
  const warn: Logger["warn"] = (_text, fields) => warnings.push(fields ?? {});
  return {
    directory: scratch.path,
    warnings,
    start(blob, sizeBytes = 100) {
      const digest = sha256(Buffer.from("list"));
      const prefetchLists = [{ digest, sizeBytes, layerDigest: LAYER.digest }];
      const image = { found: { index: { prefetchLists } }, why: "" } as unknown as ImageIndex;
      const options = {
        client: { fetchBlob: blob },
        reference: { registry: "r.test", repository: "a" },
        lookupTimeoutMs: 1000,
        logger: { ...silentLogger, warn },
        signal: new AbortController().signal,
      };
      return new PrefetchLists([LAYER, OTHER], image, options as unknown as LookUpOptions);
    },
    [Symbol.asyncDispose]: () => scratch[Symbol.asyncDispose](),
  };
}

function listOf(...ranges: SpanRange[]): () => Promise<Uint8Array> {
  return async () => encodePrefetchList(ranges);
}

describe("PrefetchLists", () => {
  it("gives each layer its own list, and those without one none", async () => {
    await using bench = await open();
    const lists = bench.start(listOf(...RANGES));
    await lists.write(1, bench.directory, SPANS);
    assert.equal(await readPrefetchFile(prefetchPath(bench.directory)), undefined);
    await lists.write(0, bench.directory, SPANS);
    assert.deepEqual(await readPrefetchFile(prefetchPath(bench.directory)), RANGES);
    assert.deepEqual(bench.warnings, []);
  });

  it("passes over a list that is broken, gone, or too large, with a warning", async () => {
    await using bench = await open();
    const bad: readonly (() => Promise<Uint8Array>)[] = [
      async () => Buffer.from('{"version":"9"}'),
      async () => Promise.reject(new AppError("not_found", "gone")),
    ];
    for (const blob of bad) await bench.start(blob).write(0, bench.directory, SPANS);
    await bench.start(listOf(...RANGES), 2 ** 21).write(0, bench.directory, SPANS);
    assert.deepEqual(await readdir(bench.directory), []);
    assert.equal(bench.warnings.length, 3);
    assert.match(String(bench.warnings[2]?.["error"]), /want at most 1048576/);
  });

  it("keeps the spans that the layer has, and nothing if it has none of them", async () => {
    await using bench = await open();
    const beyond = bench.start(listOf({ startSpan: 4, endSpan: 9 }));
    await beyond.write(0, bench.directory, 4);
    assert.deepEqual(await readdir(bench.directory), []);
    const first = { startSpan: 0, endSpan: 0 };
    const lists = bench.start(listOf(first, { startSpan: 3, endSpan: 2 ** 31 - 1 }));
    await lists.write(0, bench.directory, 4);
    const expected = [first, { startSpan: 3, endSpan: 3 }];
    assert.deepEqual(await readPrefetchFile(prefetchPath(bench.directory)), expected);
  });

  it("does not wait long, once for all layers, and lets a disk that takes no list be", {
    timeout: 60_000,
  }, async () => {
    await using bench = await open();
    const hung = bench.start(() => new Promise(() => {}));
    // Each by itself would take minutes.
    for (let turn = 0; turn < 1000; turn += 1) await hung.write(0, bench.directory, SPANS);
    assert.deepEqual(await readdir(bench.directory), []);
    await bench.start(listOf(...RANGES)).write(0, join(bench.directory, "none"), SPANS);
    assert.equal(bench.warnings.length, 1);
  });
});
