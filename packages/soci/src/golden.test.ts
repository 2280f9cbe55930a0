import assert from "node:assert/strict";
import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { gunzipSync } from "node:zlib";
import { sha256 } from "@soci-ts/core";
import { parseManifest } from "@soci-ts/oci";
import { createIndex } from "./create-index.ts";
import { ociLayoutImageSource } from "./oci-layout-source.ts";
import { openBench } from "./testing/fixtures.ts";

const CASES = fileURLToPath(new URL("../testdata/golden/", import.meta.url));
const LAYERS = fileURLToPath(new URL("../../layer-index/testdata/golden/", import.meta.url));

/** The layers' blobs by digest: the files, and what those hold that are gzip of gzip or of a layer that is no gzip. */
async function readLayers(): Promise<ReadonlyMap<string, Uint8Array>> {
  const names = (await readdir(LAYERS)).filter((name) => name.endsWith(".gz"));
  const files = await Promise.all(names.map((name) => readFile(join(LAYERS, name))));
  const blobs = [...files, ...files.map((file) => gunzipSync(file))];
  return new Map(blobs.map((blob) => [sha256(blob), blob]));
}

async function writeCase(
  name: string,
  layers: ReadonlyMap<string, Uint8Array>,
  layout: string,
): Promise<void> {
  await mkdir(join(layout, "blobs", "sha256"), { recursive: true });
  const put = async (blob: Uint8Array): Promise<void> =>
    writeFile(join(layout, "blobs", sha256(blob).replace(":", "/")), blob);
  const manifest = await readFile(join(CASES, name, "manifest.json"));
  const document = parseManifest(manifest);
  assert.ok(document.kind === "manifest");
  for (const { digest } of document.manifest.layers) {
    const blob = layers.get(digest);
    assert.ok(blob, `layer ${digest} is not among the vectors of layer-index`);
    await put(blob);
  }
  await put(manifest);
  await put(await readFile(join(CASES, name, "config.json")));
  const { mediaType } = document;
  const entry = { mediaType, digest: sha256(manifest), size: manifest.length };
  await writeFile(join(layout, "oci-layout"), '{"imageLayoutVersion":"1.0.0"}');
  await writeFile(
    join(layout, "index.json"),
    JSON.stringify({ schemaVersion: 2, manifests: [entry] }),
  );
}

const layers = await readLayers();
const cases = (await readdir(CASES, { withFileTypes: true })).filter((entry) =>
  entry.isDirectory(),
);

describe("createIndex(), against the reference tool", () => {
  for (const { name } of cases) {
    it(`gives the same index and ztocs for ${name}`, async () => {
      await using bench = await openBench();
      const layout = join(bench.directory, "layout");
      await writeCase(name, layers, layout);
      const created = await createIndex({
        source: ociLayoutImageSource(layout),
        store: bench.store,
        spanSizeBytes: 65_536,
        minLayerSizeBytes: 0,
      });
      const expected = await readFile(join(CASES, name, "soci-index.json"), "utf8");
      const actual = await bench.store.readBlob(created.indexDescriptor.digest);
      // The manifest holds the ztocs' digests, so equal text means equal ztocs.
      assert.equal(Buffer.from(actual).toString(), expected);
    });
  }
});
