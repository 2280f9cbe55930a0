import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, it } from "node:test";
import { AppError, sha256 } from "@soci-ts/core";
import { type BuiltImage, buildTar, gzipLayer, writeLayout } from "@soci-ts/testkit";
import { type CreatedIndex, type CreateIndexOptions, createIndex } from "./create-index.ts";
import { ociLayoutImageSource } from "./oci-layout-source.ts";
import { pushIndex } from "./push-index.ts";
import { registryImageSource } from "./registry-source.ts";
import { parseSociIndex } from "./soci-index.ts";
import {
  type Bench,
  failure,
  fileItems,
  loadRegistry,
  openBench,
  twoLayerLayout,
} from "./testing/fixtures.ts";
import type { TrustPolicy } from "./trust-policy.ts";

const SPAN = 65_536;

/** An image in the bench's registry, with an index that another machine made and pushed. */
async function indexedImage(bench: Bench): Promise<BuiltImage> {
  const image = await twoLayerLayout(join(bench.directory, "layout"));
  await loadRegistry(bench.registry, image);
  await using other = await openBench();
  const { store } = other;
  const source = ociLayoutImageSource(image.directory);
  await createIndex({ source, store, spanSizeBytes: SPAN, minLayerSizeBytes: 0 });
  const { client } = bench.registry;
  await pushIndex({ client, store, reference: bench.reference });
  return image;
}

function create(
  bench: Bench,
  kind: TrustPolicy["kind"] | "none",
  options: Partial<CreateIndexOptions> = {},
): Promise<CreatedIndex> {
  const { client } = bench.registry;
  const policy: TrustPolicy = kind === "listed" || kind === "none" ? { kind: "any" } : { kind };
  return createIndex({
    source: registryImageSource(client, bench.reference),
    store: bench.store,
    spanSizeBytes: SPAN,
    minLayerSizeBytes: 0,
    reuse: kind === "none" ? undefined : { client, repository: bench.reference, policy },
    ...options,
  });
}

function reusedOf({ layers }: CreatedIndex): (boolean | undefined)[] {
  return layers.map(({ reused }) => reused);
}

describe("createIndex(), where the registry has an index of the image", () => {
  it("takes its ztocs without reading a layer, and makes the same index", async () => {
    await using bench = await openBench();
    await indexedImage(bench);
    bench.registry.faults.set("openBlob", new AppError("internal", "a layer was read"));
    const taken = await create(bench, "any");
    assert.deepEqual(reusedOf(taken), [true, true]);
    bench.registry.faults.clear();
    const built = await create(bench, "any", { force: true });
    assert.deepEqual(reusedOf(built), [false, false]);
    assert.deepEqual(built.indexDescriptor, taken.indexDescriptor);
  });

  it("reads the layers if the caller does not believe that index", async () => {
    await using bench = await openBench();
    await indexedImage(bench);
    assert.deepEqual(reusedOf(await create(bench, "bound")), [false, false]);
    await using other = await openBench();
    const unasked = await create(bench, "none", { store: other.store });
    assert.deepEqual(reusedOf(unasked), [false, false]);
  });

  it("reads the layers if the ztocs have other spans", async () => {
    await using bench = await openBench();
    await indexedImage(bench);
    assert.deepEqual(reusedOf(await create(bench, "any", { spanSizeBytes: 2 * SPAN })), [
      false,
      false,
    ]);
  });

  it("reads a layer whose ztoc is gone or broken", async () => {
    for (const spoil of [
      (bench: Bench, digest: string) => bench.registry.blobs.delete(digest),
      (bench: Bench, digest: string) => bench.registry.blobs.set(digest, Buffer.from("no ztoc")),
    ]) {
      await using bench = await openBench();
      await indexedImage(bench);
      const index = [...bench.registry.manifests.values()].at(-1)!;
      const [first] = parseSociIndex(index.bytes).ztocs;
      spoil(bench, first!.descriptor.digest);
      const { layers } = await create(bench, "any");
      assert.deepEqual(
        layers.map(({ reused }) => reused),
        [false, true],
      );
    }
  });

  it("builds if the registry can't be asked for indexes", async () => {
    await using bench = await openBench();
    await indexedImage(bench);
    bench.registry.faults.set("listReferrers", new AppError("permission_denied", "403"));
    assert.deepEqual(reusedOf(await create(bench, "any")), [false, false]);
  });

  it("does not give what it took from there to another image with the same layer", async () => {
    await using bench = await openBench();
    const image = await indexedImage(bench);
    await create(bench, "any");
    const source = ociLayoutImageSource(image.directory);
    const local = await createIndex({
      source,
      store: bench.store,
      spanSizeBytes: SPAN,
      minLayerSizeBytes: 0,
    });
    assert.deepEqual(reusedOf(local), [false, false]);
    const again = await createIndex({
      source,
      store: bench.store,
      spanSizeBytes: SPAN,
      minLayerSizeBytes: 0,
    });
    assert.deepEqual(reusedOf(again), [true, true]);
  });
});

describe("createIndex()", () => {
  it("reads every layer again when it is forced to", async () => {
    await using bench = await openBench();
    const image = await twoLayerLayout(join(bench.directory, "layout"));
    const source = ociLayoutImageSource(image.directory);
    const options = { source, store: bench.store, minLayerSizeBytes: 0 };
    await createIndex(options);
    await writeFile(join(image.directory, "blobs", image.layers[0]!.digest.replace(":", "/")), "x");
    assert.deepEqual(reusedOf(await createIndex(options)), [true, true]);
    await assert.rejects(createIndex({ ...options, force: true }), failure("data_loss", /layer/));
  });

  it("checks both of two claims about one blob", async () => {
    await using bench = await openBench();
    const layer = gzipLayer(await buildTar(fileItems("etc/a", 10_000)));
    const directory = join(bench.directory, "layout");
    await writeLayout(directory, [layer, { ...layer, diffId: sha256(Buffer.from("other")) }]);
    const source = ociLayoutImageSource(directory);
    const creating = createIndex({ source, store: bench.store, minLayerSizeBytes: 0 });
    await assert.rejects(creating, failure("data_loss", /diffID/));
  });

  it("refuses a number of jobs that is none", async () => {
    await using bench = await openBench();
    const image = await twoLayerLayout(join(bench.directory, "layout"));
    const source = ociLayoutImageSource(image.directory);
    for (const jobs of [0, -1, 1.5]) {
      const creating = createIndex({ source, store: bench.store, minLayerSizeBytes: 0, jobs });
      await assert.rejects(creating, failure("invalid_argument", /layers at a time/));
    }
  });
});
