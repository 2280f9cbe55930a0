import assert from "node:assert/strict";
import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { gunzipSync } from "node:zlib";
import { concatBytes, sha256 } from "@soci-ts/core";
import { parseManifest } from "@soci-ts/oci";

const CASES = fileURLToPath(new URL("../../testdata/golden/", import.meta.url));
const LAYERS = fileURLToPath(new URL("../../../layer-index/testdata/golden/", import.meta.url));

/** A gzip header with extra field, name and comment: what the layer of `gzip-header-all-fields` has in place of the plain one. */
const FULL_HEADER = Buffer.from(
  "1f8b081c010203040203050068656c6c6f6c617965722e746172006120636f6d6d656e7400",
  "hex",
);
const PLAIN_HEADER_BYTES = 10;

/** The names of the images that the reference tool indexed. */
export async function goldenCases(): Promise<string[]> {
  const entries = await readdir(CASES, { withFileTypes: true });
  return entries.filter((entry) => entry.isDirectory()).map(({ name }) => name);
}

/** A file of a case, as text. */
export async function goldenText(name: string, file: string): Promise<string> {
  return readFile(join(CASES, name, file), "utf8");
}

/** The layers' blobs by digest: the files, what those hold that are gzip of gzip or of a layer that is no gzip, and the one with a full header. */
export async function goldenLayers(): Promise<ReadonlyMap<string, Uint8Array>> {
  const names = (await readdir(LAYERS)).filter((name) => name.endsWith(".gz"));
  const files = await Promise.all(names.map((name) => readFile(join(LAYERS, name))));
  const pax = await readFile(join(LAYERS, "pax-single-stream.tar.gz"));
  const fullHeader = concatBytes([FULL_HEADER, pax.subarray(PLAIN_HEADER_BYTES)]);
  const blobs = [...files, ...files.map((file) => gunzipSync(file)), fullHeader];
  return new Map(blobs.map((blob) => [sha256(blob), blob]));
}

/** Writes the image of a case as an OCI layout. */
export async function writeGoldenLayout(
  name: string,
  layers: ReadonlyMap<string, Uint8Array>,
  layout: string,
): Promise<void> {
  await mkdir(join(layout, "blobs", "sha256"), { recursive: true });
  const put = async (blob: Uint8Array): Promise<void> =>
    writeFile(join(layout, "blobs", sha256(blob).replace(":", "/")), blob);
  const manifest = Buffer.from(await goldenText(name, "manifest.json"));
  const document = parseManifest(manifest);
  assert.ok(document.kind === "manifest");
  for (const { digest } of document.manifest.layers) {
    const blob = layers.get(digest);
    assert.ok(blob, `layer ${digest} is not among the vectors of layer-index`);
    await put(blob);
  }
  await put(manifest);
  await put(Buffer.from(await goldenText(name, "config.json")));
  const { mediaType } = document;
  const entry = { mediaType, digest: sha256(manifest), size: manifest.length };
  await writeFile(join(layout, "oci-layout"), '{"imageLayoutVersion":"1.0.0"}');
  await writeFile(
    join(layout, "index.json"),
    JSON.stringify({ schemaVersion: 2, manifests: [entry] }),
  );
}
