import assert from "node:assert/strict";
import { rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, it } from "node:test";
import { sha256 } from "@soci-ts/core";
import { type Descriptor, MEDIA_TYPE_OCI_LAYER } from "@soci-ts/oci";
import { createIndex } from "./create-index.ts";
import { type FetchZtocOptions, fetchZtoc } from "./fetch-ztoc.ts";
import { ociLayoutImageSource } from "./oci-layout-source.ts";
import { pushIndex } from "./push-index.ts";
import { parseSociIndex } from "./soci-index.ts";
import {
  type Bench,
  failure,
  loadRegistry,
  openBench,
  twoLayerLayout,
} from "./testing/fixtures.ts";

async function pushed(bench: Bench): Promise<FetchZtocOptions & { layer: Descriptor }> {
  const image = await twoLayerLayout(join(bench.directory, "layout"));
  await loadRegistry(bench.registry, image);
  const source = ociLayoutImageSource(image.directory);
  const { store, reference } = bench;
  const { client } = bench.registry;
  const created = await createIndex({ source, store, minLayerSizeBytes: 0 });
  await pushIndex({ client, store, reference });
  const index = parseSociIndex(await store.readBlob(created.indexDescriptor.digest));
  const { manifest } = await source.resolve(undefined);
  return { client, repository: reference, ztoc: index.ztocs[0]!, layer: manifest.layers[0]! };
}

describe("fetchZtoc()", () => {
  it("gives the layer's index, from the registry and from the store", async () => {
    await using bench = await openBench();
    const options = await pushed(bench);
    const remote = await fetchZtoc(options);
    assert.equal(remote.compressedSizeBytes, options.layer.size);
    bench.registry.blobs.clear();
    const local = await fetchZtoc({ ...options, store: bench.store });
    assert.deepEqual(local.spans, remote.spans);
  });

  it("goes to the registry when the store's file is damaged or gone", async () => {
    await using bench = await openBench();
    const options = await pushed(bench);
    const path = bench.store.blobPath(options.ztoc.descriptor.digest);
    await writeFile(path, "damaged");
    const { store } = bench;
    assert.equal((await fetchZtoc({ ...options, store })).compressedSizeBytes, options.layer.size);
    await rm(path);
    assert.equal((await fetchZtoc({ ...options, store })).compressedSizeBytes, options.layer.size);
  });

  it("refuses a ztoc of another layer, blob length or compression", async () => {
    await using bench = await openBench();
    const options = await pushed(bench);
    const { layer } = options;
    const other = { ...layer, digest: sha256(Buffer.from("other")) };
    await assert.rejects(fetchZtoc({ ...options, layer: other }), failure("data_loss", /of layer/));
    const longer = { ...layer, size: layer.size + 1 };
    await assert.rejects(fetchZtoc({ ...options, layer: longer }), failure("data_loss", /bytes/));
    const plain = { ...layer, mediaType: MEDIA_TYPE_OCI_LAYER };
    await assert.rejects(
      fetchZtoc({ ...options, layer: plain }),
      failure("data_loss", /compression/),
    );
  });
});
