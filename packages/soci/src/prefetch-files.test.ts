import assert from "node:assert/strict";
import { join } from "node:path";
import { describe, it } from "node:test";
import { gzipSync } from "node:zlib";
import {
  ANNOTATION_LAYER_DIGEST,
  MEDIA_TYPE_OCI_LAYER,
  MEDIA_TYPE_SOCI_PREFETCH,
} from "@soci-ts/oci";
import {
  type BuiltImage,
  buildTar,
  gzipLayer,
  layerOf,
  seededBytes,
  writeLayout,
} from "@soci-ts/testkit";
import { convertImage } from "./convert-image.ts";
import { type CreatedIndex, createIndex } from "./create-index.ts";
import { fetchPrefetchList } from "./fetch-prefetch-list.ts";
import { ociLayoutImageSource } from "./oci-layout-source.ts";
import { ociLayoutImageTarget } from "./oci-layout-target.ts";
import { pushIndex } from "./push-index.ts";
import { parseSociIndex } from "./soci-index.ts";
import { type Bench, failure, loadRegistry, openBench } from "./testing/fixtures.ts";

const SIZES = { spanSizeBytes: 65_536, minLayerSizeBytes: 0 };

/** Three layers: gzip, whose deflate blocks hold some 30 kB each; uncompressed; and a small one that hides a file of the first. */
async function threeLayers(bench: Bench): Promise<BuiltImage> {
  const random = (name: string, seed: number) => ({ name, content: seededBytes(200_000, seed) });
  const lower = await buildTar([
    random("bin/first", 1),
    random("bin/second", 2),
    random("bin/x", 3),
  ]);
  const middle = await buildTar([
    random("lib/a", 4),
    { name: "lib/b", content: seededBytes(195_072, 5) },
  ]);
  const upper = await buildTar([
    { name: "./bin/first", content: "" },
    { name: "bin/second", content: "new" },
  ]);
  const layers = [
    gzipLayer(lower),
    layerOf(middle, middle, MEDIA_TYPE_OCI_LAYER),
    gzipLayer(upper),
  ];
  assert.equal(gzipSync(lower).length, layers[0]?.blob.length);
  return writeLayout(join(bench.directory, "layout"), layers);
}

async function listsOf(bench: Bench, made: CreatedIndex): Promise<string[]> {
  return Promise.all(
    made.prefetchLists.map(async ({ digest }) =>
      Buffer.from(await bench.store.readBlob(digest)).toString(),
    ),
  );
}

describe("makePrefetchLists()", () => {
  it("lists the spans of each file in the topmost layer that has it, after the ztocs in the index", async () => {
    await using bench = await openBench();
    const { store } = bench;
    const image = await threeLayers(bench);
    const source = ociLayoutImageSource(image.directory);
    const prefetchFiles = ["/bin/../bin/first", "lib/a/", "//bin/second", "lib/b", "no/such"];
    const made = await createIndex({ source, store, ...SIZES, prefetchFiles });
    assert.deepEqual(made.filesNotFound, ["no/such"]);
    assert.deepEqual(
      made.prefetchLists.map(({ layerDigest }) => layerDigest),
      image.layers.map(({ digest }) => digest),
    );
    const [lower, middle, upper] = await listsOf(bench, made);
    assert.match(
      lower ?? "",
      /^\{"version":"1.0","prefetch_spans":\[\{"start_span":0,"end_span":2\}\]\}$/,
    );
    // lib/b ends where span 6 would begin: the byte after it counts, as the reference counts.
    assert.equal(middle, '{"version":"1.0","prefetch_spans":[{"start_span":0,"end_span":6}]}');
    assert.equal(upper, '{"version":"1.0","prefetch_spans":[{"start_span":0,"end_span":0}]}');

    const index = parseSociIndex(await store.readBlob(made.indexDescriptor.digest));
    assert.equal(index.ztocs.length, 3);
    assert.deepEqual(index.prefetchLists, made.prefetchLists);
    for (const [at, list] of made.prefetchLists.entries()) {
      assert.deepEqual(index.manifest.layers[3 + at], {
        mediaType: MEDIA_TYPE_SOCI_PREFETCH,
        digest: list.digest,
        size: list.sizeBytes,
        annotations: { [ANNOTATION_LAYER_DIGEST]: list.layerDigest },
      });
    }
  });

  it("goes with the index: pushed, converted, kept in the store, and removed", async () => {
    await using bench = await openBench();
    const { store, registry, reference } = bench;
    const image = await threeLayers(bench);
    await loadRegistry(registry, image);
    const source = ociLayoutImageSource(image.directory);
    const common = { source, store, ...SIZES, prefetchFiles: ["bin/x"] };
    const made = await createIndex(common);
    const digest = made.prefetchLists[0]?.digest;
    assert.ok(digest);
    const pushed = await pushIndex({ client: registry.client, store, reference });
    // Three ztocs, the list, the empty config.
    assert.equal(pushed.blobsSent, 5);
    assert.ok(registry.blobs.has(digest));

    const { client } = registry;
    const entry = made.prefetchLists[0]!;
    const wanted = { client, repository: reference, entry };
    const remote = await fetchPrefetchList(wanted);
    assert.deepEqual(await fetchPrefetchList({ ...wanted, store }), remote);
    registry.blobs.delete(digest);
    await assert.rejects(fetchPrefetchList(wanted), failure("not_found", /./));
    assert.deepEqual(await fetchPrefetchList({ ...wanted, store }), remote);

    const target = await ociLayoutImageTarget(join(bench.directory, "converted"));
    const converted = await convertImage({ ...common, target });
    const sociIndex = converted.platforms[0]?.indexDescriptor;
    const out = ociLayoutImageSource(join(bench.directory, "converted"));
    const index = parseSociIndex(await out.readManifest(sociIndex!));
    assert.equal(index.version, 2);
    const list = index.manifest.layers.at(-1)!;
    assert.equal(list.digest, digest);
    assert.equal((await out.openBlob(list).readAt(0, list.size)).length, list.size);

    assert.deepEqual(
      store.getIndex(made.indexDescriptor.digest)?.prefetchLists,
      made.prefetchLists,
    );
    assert.equal(store.listZtocs().length, 3);
    await store.removeIndex(made.indexDescriptor.digest);
    assert.ok(await store.hasBlob(digest), "the converted image's index has it, too");
    await store.removeIndex(sociIndex!.digest);
    assert.ok(!(await store.hasBlob(digest)));
  });

  it("makes nothing of nothing, and leaves the index as it was", async () => {
    await using bench = await openBench();
    const { store } = bench;
    const image = await threeLayers(bench);
    const source = ociLayoutImageSource(image.directory);
    const plain = await createIndex({ source, store, ...SIZES });
    const made = await createIndex({
      source,
      store,
      ...SIZES,
      prefetchFiles: ["opt/x", "/", ".."],
    });
    assert.deepEqual(made.indexDescriptor, plain.indexDescriptor);
    assert.deepEqual(made.filesNotFound, ["opt/x", ".."]);
  });
});
