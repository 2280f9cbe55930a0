import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { buildTar, gzipLayer, writeLayout } from "@soci-ts/testkit";
import { createIndex } from "./create-index.ts";
import { ociLayoutImageSource } from "./oci-layout-source.ts";
import { type Bench, fileItems, openBench } from "./testing/fixtures.ts";

const CHILD = fileURLToPath(new URL("./testing/create-child.js", import.meta.url));
const LAYERS = 4;

interface ChildResult {
  readonly index: string;
  readonly layersRead: readonly string[];
}

async function imageOf(bench: Bench): Promise<string> {
  const tars = await Promise.all(
    Array.from({ length: LAYERS }, (_, at) => buildTar(fileItems(`etc/${at}`, 700_000, at + 1))),
  );
  const layout = join(bench.directory, "layout");
  await writeLayout(
    layout,
    tars.map((tar) => gzipLayer(tar, 1)),
  );
  return layout;
}

function startChild(bench: Bench, layout: string, manner: "slow" | "stuck") {
  return spawn(process.execPath, [CHILD, bench.store.root, layout, manner], {
    stdio: ["ignore", "pipe", "inherit"],
  });
}

describe("createIndex() in two processes with one store", () => {
  it("reads each layer once, in one of them", async () => {
    await using bench = await openBench();
    const layout = await imageOf(bench);
    const children = [1, 2].map(() => startChild(bench, layout, "slow"));
    const results = await Promise.all(
      children.map(async ({ stdout }) => JSON.parse(await text(stdout)) as ChildResult),
    );
    assert.equal(results[0]?.index, results[1]?.index);
    const reads = results.flatMap(({ layersRead }) => layersRead);
    assert.equal(reads.length, LAYERS);
    assert.equal(new Set(reads).size, LAYERS);
    const [index] = bench.store.listIndexes();
    for (const { digest } of index?.ztocs ?? []) await bench.store.readBlob(digest);
    assert.equal(index?.ztocs.length, LAYERS);
    assert.deepEqual(await readdir(join(bench.store.root, "tmp")), []);
  });

  it("does not wait for one that was killed", async () => {
    await using bench = await openBench();
    const layout = await imageOf(bench);
    const child = startChild(bench, layout, "stuck");
    await once(child.stdout, "data");
    const creating = createIndex({
      source: ociLayoutImageSource(layout),
      store: bench.store,
      spanSizeBytes: 65_536,
      minLayerSizeBytes: 0,
    });
    child.kill("SIGKILL");
    const { layers } = await creating;
    assert.ok(layers.every(({ ztoc }) => ztoc !== undefined));
  });
});
