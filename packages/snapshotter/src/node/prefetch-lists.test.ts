import assert from "node:assert/strict";
import { mkdir, readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, it } from "node:test";
import {
  AppError,
  type Digest,
  type LogFields,
  type Logger,
  sha256,
  silentLogger,
} from "@soci-ts/core";
import type { SpanRange } from "@soci-ts/layer-index";
import { encodePrefetchList } from "@soci-ts/soci";
import { temporary } from "../testing/temporary.ts";
import type { ImageIndex, LookUpOptions } from "./image-index.ts";
import {
  readPrefetchList,
  removePrefetchList,
  startPrefetchLists,
  writePrefetchList,
} from "./prefetch-lists.ts";

const LAYER = { mediaType: "a/b", digest: sha256(Buffer.from("layer")), size: 1 };
const OTHER = { mediaType: "a/b", digest: sha256(Buffer.from("other")), size: 1 };
const RANGES = [{ startSpan: 1, endSpan: 3 }];

/** What two layers' lists come to, where the first has one whose blob is this. */
async function started(
  bytes: Uint8Array | AppError,
  sizeBytes = 100,
): Promise<{ lists: (readonly SpanRange[] | undefined)[]; warnings: LogFields[] }> {
  const warnings: LogFields[] = [];
  const logger: Logger = {
    ...silentLogger,
    warn: (_text, fields) => warnings.push(fields ?? {}),
  };
  const digest = sha256(Buffer.from("list"));
  const entry = { digest, sizeBytes, layerDigest: LAYER.digest as Digest };
  const image = { found: { index: { prefetchLists: [entry] } }, why: "" } as unknown as ImageIndex;
  const client = {
    fetchBlob: async () => {
      if (bytes instanceof AppError) throw bytes;
      return bytes;
    },
  };
  const reference = { registry: "r.test", repository: "a" };
  const signal = new AbortController().signal;
  const options = { client, reference, lookupTimeoutMs: 1000, logger, signal };
  const ways = startPrefetchLists([LAYER, OTHER], image, options as unknown as LookUpOptions);
  return { lists: await Promise.all(ways), warnings };
}

describe("startPrefetchLists()", () => {
  it("gives each layer its own list, and those without one none", async () => {
    const { lists, warnings } = await started(encodePrefetchList(RANGES));
    assert.deepEqual(lists, [RANGES, undefined]);
    assert.deepEqual(warnings, []);
  });

  it("passes over a list that is broken, gone, or too large, with a warning", async () => {
    for (const bytes of [Buffer.from('{"version":"9"}'), new AppError("not_found", "gone")]) {
      const { lists, warnings } = await started(bytes);
      assert.deepEqual(lists, [undefined, undefined]);
      assert.equal(warnings.length, 1);
    }
    const { warnings } = await started(encodePrefetchList(RANGES), 2 ** 21);
    assert.match(String(warnings[0]?.["error"]), /want at most 1048576/);
  });
});

describe("writePrefetchList()", () => {
  it("keeps the spans that the layer has, and nothing if it has none of them", async () => {
    await using scratch = await temporary();
    const directory = scratch.path;
    const how = { spanCount: 4, logger: silentLogger };
    await writePrefetchList(directory, Promise.resolve([{ startSpan: 4, endSpan: 9 }]), how);
    assert.deepEqual(await readdir(directory), []);
    const list = [
      { startSpan: 0, endSpan: 0 },
      { startSpan: 3, endSpan: 2 ** 31 - 1 },
    ];
    await writePrefetchList(directory, Promise.resolve(list), how);
    const expected = [
      { startSpan: 0, endSpan: 0 },
      { startSpan: 3, endSpan: 3 },
    ];
    assert.deepEqual(await readPrefetchList(directory), expected);
    await removePrefetchList(directory);
    assert.equal(await readPrefetchList(directory), undefined);
  });

  it("does not wait long for a list, and lets a disk that does not take it be", async () => {
    await using scratch = await temporary();
    const how = { spanCount: 4, logger: silentLogger };
    await writePrefetchList(scratch.path, new Promise(() => {}), how);
    assert.deepEqual(await readdir(scratch.path), []);
    await writePrefetchList(join(scratch.path, "none"), Promise.resolve(RANGES), how);
  });

  it("refuses a file that is damaged", async () => {
    await using scratch = await temporary();
    await mkdir(scratch.path, { recursive: true });
    await writeFile(join(scratch.path, "prefetch"), new Uint8Array(40));
    await assert.rejects(readPrefetchList(scratch.path), { code: "data_loss" });
  });
});
