import assert from "node:assert/strict";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, it } from "node:test";
import { AppError, type Digest, sha256 } from "@soci-ts/core";
import { buildTar, gzipLayer, type LayoutDescriptor, layerOf, writeLayout } from "@soci-ts/testkit";
import { createIndex, type LayerProgress } from "./create-index.ts";
import { ociLayoutImageSource } from "./oci-layout-source.ts";
import { registryImageSource } from "./registry-source.ts";
import { parseSociIndex } from "./soci-index.ts";
import { failure, fileItems, loadRegistry, openBench, twoLayerLayout } from "./testing/fixtures.ts";

const SPAN = 65_536;
const ZSTD = "application/vnd.oci.image.layer.v1.tar+zstd";

function blobFile(directory: string, { digest }: LayoutDescriptor): string {
  return join(directory, "blobs", digest.replace(":", "/"));
}

describe("createIndex()", () => {
  it("keeps an index with a ztoc for each layer, in layer order", async () => {
    await using bench = await openBench();
    const image = await twoLayerLayout(join(bench.directory, "layout"));
    const source = ociLayoutImageSource(image.directory);
    const created = await createIndex({
      source,
      store: bench.store,
      spanSizeBytes: SPAN,
      minLayerSizeBytes: 0,
    });
    assert.equal(created.manifestDigest, image.manifest.digest);
    const bytes = await bench.store.readBlob(created.indexDescriptor.digest);
    const index = parseSociIndex(bytes);
    assert.equal(index.version, 1);
    assert.equal(index.manifest.subject?.digest, image.manifest.digest);
    assert.deepEqual(
      index.ztocs.map((ztoc) => ztoc.layerDigest),
      image.layers.map((layer) => layer.digest),
    );
    for (const ztoc of index.ztocs) {
      const { size, digest } = ztoc.descriptor;
      assert.equal((await bench.store.readBlob(digest)).length, size);
    }
    const [record] = bench.store.listIndexes();
    assert.equal(record?.reference, `oci:${image.directory}`);
    assert.equal(record?.ztocs.length, 2);
  });

  it("gives the same bytes from a registry, and again", async () => {
    await using bench = await openBench();
    const image = await twoLayerLayout(join(bench.directory, "layout"));
    await loadRegistry(bench.registry, image);
    const common = { spanSizeBytes: SPAN, minLayerSizeBytes: 0 };
    const remote = registryImageSource(bench.registry.client, bench.reference);
    const first = await createIndex({ ...common, source: remote, store: bench.store });
    await using other = await openBench();
    const local = ociLayoutImageSource(image.directory);
    const second = await createIndex({ ...common, source: local, store: other.store });
    assert.deepEqual(second.indexDescriptor, first.indexDescriptor);
    assert.deepEqual(bench.registry.writes, []);
  });

  it("leaves out layers below the minimum size, the size itself not", async () => {
    await using bench = await openBench();
    const image = await twoLayerLayout(join(bench.directory, "layout"));
    const [large, small] = image.layers;
    const source = ociLayoutImageSource(image.directory);
    const options = { source, store: bench.store, spanSizeBytes: SPAN };
    const one = await createIndex({ ...options, minLayerSizeBytes: small!.size + 1 });
    assert.match(one.layers[1]?.skipped ?? "", /below the minimum/);
    assert.equal(one.layers[1]?.ztoc, undefined);
    assert.ok(one.layers[0]?.ztoc);
    const both = await createIndex({ ...options, minLayerSizeBytes: small!.size });
    assert.equal(both.layers[1]?.skipped, undefined);
    await assert.rejects(
      createIndex({ ...options, minLayerSizeBytes: large!.size + 1 }),
      failure("failed_precondition", /no ztocs created/),
    );
    const byDefault = createIndex({ source, store: bench.store });
    await assert.rejects(byDefault, failure("failed_precondition", /minimum of 10485760/));
  });

  it("uses a ztoc again that it made before, without reading the layer", async () => {
    await using bench = await openBench();
    const image = await twoLayerLayout(join(bench.directory, "layout"));
    const source = ociLayoutImageSource(image.directory);
    const options = { source, store: bench.store, spanSizeBytes: SPAN, minLayerSizeBytes: 0 };
    const first = await createIndex(options);
    await writeFile(blobFile(image.directory, image.layers[0]!), "gone");
    const second = await createIndex(options);
    assert.deepEqual(second.indexDescriptor, first.indexDescriptor);
    assert.deepEqual(
      second.layers.map((layer) => layer.reused),
      [true, true],
    );
  });

  it("makes a ztoc anew if the one in the store is damaged", async () => {
    await using bench = await openBench();
    const image = await twoLayerLayout(join(bench.directory, "layout"));
    const source = ociLayoutImageSource(image.directory);
    const options = { source, store: bench.store, spanSizeBytes: SPAN, minLayerSizeBytes: 0 };
    const first = await createIndex(options);
    const { digest } = first.layers[0]!.ztoc!;
    const path = bench.store.blobPath(digest);
    const bytes = await readFile(path);
    bytes.writeUInt8(bytes.readUInt8(100) === 1 ? 2 : 1, 100);
    await writeFile(path, bytes);
    const second = await createIndex(options);
    assert.deepEqual(second.indexDescriptor, first.indexDescriptor);
    assert.equal(second.layers[0]?.reused, false);
    await bench.store.readBlob(digest);
  });

  it("skips kinds of layers that it can't index, and says why", async () => {
    await using bench = await openBench();
    const directory = join(bench.directory, "layout");
    const tar = await buildTar(fileItems("etc/a", 10_000));
    const sparse = Buffer.from(await buildTar(fileItems("etc/b", 512)));
    sparse.write("S", 512 + 156);
    fixChecksum(sparse.subarray(512, 1024));
    await writeLayout(directory, [gzipLayer(tar), layerOf(tar, tar, ZSTD), gzipLayer(sparse)]);
    const created = await createIndex({
      source: ociLayoutImageSource(directory),
      store: bench.store,
      spanSizeBytes: SPAN,
      minLayerSizeBytes: 0,
    });
    assert.equal(created.layers[0]?.skipped, undefined);
    assert.match(created.layers[1]?.skipped ?? "", /zstd/);
    assert.match(created.layers[2]?.skipped ?? "", /sparse/i);
  });

  it("refuses a layer whose content is not what the config says", async () => {
    await using bench = await openBench();
    const directory = join(bench.directory, "layout");
    const tar = await buildTar(fileItems("etc/a", 10_000));
    await writeLayout(directory, [{ ...gzipLayer(tar), diffId: sha256(Buffer.from("other")) }]);
    const source = ociLayoutImageSource(directory);
    const creating = createIndex({ source, store: bench.store, minLayerSizeBytes: 0 });
    await assert.rejects(creating, failure("data_loss", /diffID/));
    assert.deepEqual(bench.store.listIndexes(), []);
  });

  it("refuses a blob that does not have its digest", async () => {
    await using bench = await openBench();
    const image = await twoLayerLayout(join(bench.directory, "layout"));
    const file = blobFile(image.directory, image.layers[0]!);
    const bytes = await readFile(file);
    // The time stamp of the gzip header: nothing but the digest tells.
    bytes.writeUInt8(bytes.readUInt8(4) + 1, 4);
    await writeFile(file, bytes);
    const source = ociLayoutImageSource(image.directory);
    const creating = createIndex({ source, store: bench.store, minLayerSizeBytes: 0 });
    await assert.rejects(creating, failure("data_loss", /the blob/));
  });

  it("indexes a layer once that stands in the image twice, and names it twice", async () => {
    await using bench = await openBench();
    const layer = gzipLayer(await buildTar(fileItems("etc/a", 10_000)));
    await writeLayout(join(bench.directory, "layout"), [layer, layer]);
    const reads: LayerProgress[] = [];
    const created = await createIndex({
      source: ociLayoutImageSource(join(bench.directory, "layout")),
      store: bench.store,
      minLayerSizeBytes: 0,
      onProgress: (progress) => reads.push(progress),
    });
    assert.equal(reads.filter((read) => read.outcome !== undefined).length, 1);
    const index = parseSociIndex(await bench.store.readBlob(created.indexDescriptor.digest));
    assert.equal(index.ztocs.length, 2);
  });

  it("does not take a registry's failure for a kind of layer", async () => {
    await using bench = await openBench();
    const image = await twoLayerLayout(join(bench.directory, "layout"));
    await loadRegistry(bench.registry, image);
    bench.registry.faults.set("openBlob", new AppError("unimplemented", "405"));
    const source = registryImageSource(bench.registry.client, bench.reference);
    const creating = createIndex({ source, store: bench.store, minLayerSizeBytes: 0 });
    await assert.rejects(creating, failure("unimplemented", /405/));
  });

  it("stops when aborted, and leaves no index", async () => {
    await using bench = await openBench();
    const image = await twoLayerLayout(join(bench.directory, "layout"));
    const abort = new AbortController();
    const reason = new AppError("cancelled", "stop");
    const creating = createIndex({
      source: ociLayoutImageSource(image.directory),
      store: bench.store,
      minLayerSizeBytes: 0,
      signal: abort.signal,
      onProgress: () => abort.abort(reason),
    });
    await assert.rejects(creating, failure("cancelled", /stop/));
    assert.deepEqual(bench.store.listIndexes(), []);
  });

  it("refuses a config that lists another number of layers", async () => {
    await using bench = await openBench();
    const image = await twoLayerLayout(join(bench.directory, "layout"));
    const [first] = image.layers;
    const config = Buffer.from(
      JSON.stringify({
        architecture: "amd64",
        os: "linux",
        rootfs: { type: "layers", diff_ids: [first!.digest] },
      }),
    );
    await loadRegistry(bench.registry, image);
    const manifest = JSON.parse(
      Buffer.from(bench.registry.manifests.get(image.manifest.digest)!.bytes).toString(),
    ) as { config: { digest: Digest; size: number } };
    manifest.config.digest = bench.registry.putBlob(config);
    manifest.config.size = config.length;
    const bytes = Buffer.from(JSON.stringify(manifest));
    bench.registry.putManifest(bytes, image.manifest.mediaType, "v1");
    const source = registryImageSource(bench.registry.client, bench.reference);
    const creating = createIndex({ source, store: bench.store });
    await assert.rejects(creating, failure("data_loss", /1 diffIDs, want 2/));
  });
});

function fixChecksum(header: Buffer): void {
  header.fill(" ", 148, 156);
  const sum = header.reduce((total, byte) => total + byte, 0);
  header.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148);
}
