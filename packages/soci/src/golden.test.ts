import assert from "node:assert/strict";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, it } from "node:test";
import { sha256 } from "@soci-ts/core";
import { MEDIA_TYPE_OCI_INDEX } from "@soci-ts/oci";
import { convertImage } from "./convert-image.ts";
import { createIndex } from "./create-index.ts";
import { ociLayoutImageSource } from "./oci-layout-source.ts";
import { ociLayoutImageTarget } from "./oci-layout-target.ts";
import { openBench } from "./testing/fixtures.ts";
import {
  goldenCases,
  goldenLayers,
  goldenText,
  writeGoldenLayout,
} from "./testing/golden-layout.ts";

const SIZES = { spanSizeBytes: 65_536, minLayerSizeBytes: 0 };
const layers = await goldenLayers();

describe("createIndex() and convertImage(), against the reference tool", async () => {
  for (const name of await goldenCases()) {
    it(`give the same bytes for ${name}`, async () => {
      await using bench = await openBench();
      const { store } = bench;
      const layout = join(bench.directory, "layout");
      await writeGoldenLayout(name, layers, layout);
      const source = ociLayoutImageSource(layout);
      const created = await createIndex({ source, store, ...SIZES });
      const actual = await store.readBlob(created.indexDescriptor.digest);
      // The manifest holds the ztocs' digests, so equal text means equal ztocs.
      assert.equal(Buffer.from(actual).toString(), await goldenText(name, "soci-index.json"));

      const out = join(bench.directory, "converted");
      const target = await ociLayoutImageTarget(out);
      await convertImage({ source, target, store, ...SIZES });
      const imageIndex = await goldenText(name, "v2-image-index.json");
      const { digest, length } = {
        digest: sha256(Buffer.from(imageIndex)),
        length: imageIndex.length,
      };
      assert.equal(
        await readFile(join(out, "index.json"), "utf8"),
        `{"schemaVersion":2,"mediaType":"${MEDIA_TYPE_OCI_INDEX}","manifests":[{"mediaType":"${MEDIA_TYPE_OCI_INDEX}","digest":"${digest}","size":${length}}]}`,
      );
      const documents = [
        imageIndex,
        await goldenText(name, "v2-manifest.json"),
        await goldenText(name, "v2-soci-index.json"),
        await goldenText(name, "config.json"),
        "{}",
      ].map((text) => sha256(Buffer.from(text)));
      const parts = created.layers.flatMap(({ digest, ztoc }) => [digest, ztoc?.digest ?? digest]);
      const expected = [...new Set([...documents, ...parts])].map((digest) => digest.slice(7));
      assert.deepEqual((await readdir(join(out, "blobs/sha256"))).sort(), expected.sort());
    });
  }
});
