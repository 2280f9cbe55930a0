import assert from "node:assert/strict";
import { join } from "node:path";
import { describe, it } from "node:test";
import { AppError, sha256 } from "@soci-ts/core";
import { EMPTY_CONFIG_DIGEST } from "@soci-ts/oci";
import { buildTar, gzipLayer, writeLayout } from "@soci-ts/testkit";
import { type CreatedIndex, createIndex } from "./create-index.ts";
import { findIndex } from "./find-index.ts";
import { ociLayoutImageSource } from "./oci-layout-source.ts";
import { pushIndex } from "./push-index.ts";
import {
  type Bench,
  failure,
  fileItems,
  loadRegistry,
  openBench,
  twoLayerLayout,
} from "./testing/fixtures.ts";

async function createdOn(bench: Bench): Promise<CreatedIndex> {
  const image = await twoLayerLayout(join(bench.directory, "layout"));
  await loadRegistry(bench.registry, image);
  const source = ociLayoutImageSource(image.directory);
  return createIndex({ source, store: bench.store, minLayerSizeBytes: 0 });
}

describe("pushIndex()", () => {
  it("sends config and ztocs, then the manifest, and nothing of the image", async () => {
    await using bench = await openBench();
    const created = await createdOn(bench);
    const { client } = bench.registry;
    const { store, reference } = bench;
    const pushed = await pushIndex({ client, store, reference });
    assert.equal(pushed.indexDigest, created.indexDescriptor.digest);
    assert.equal(pushed.blobsSent, 3);
    assert.equal(pushed.found, "referrers");
    const { writes } = bench.registry;
    assert.equal(writes.at(-1), `manifest ${created.indexDescriptor.digest}`);
    const ztocs = created.layers.map((layer) => `blob ${layer.ztoc?.digest}`);
    assert.deepEqual(writes.slice(0, -1).sort(), [`blob ${EMPTY_CONFIG_DIGEST}`, ...ztocs].sort());
    const image = await ociLayoutImageSource(join(bench.directory, "layout")).resolve(undefined);
    const { found } = await findIndex({ ...image, client, repository: reference });
    assert.equal(found?.indexDescriptor.digest, created.indexDescriptor.digest);
  });

  it("sends no blob twice", async () => {
    await using bench = await openBench();
    await createdOn(bench);
    const options = {
      client: bench.registry.client,
      store: bench.store,
      reference: bench.reference,
    };
    await pushIndex(options);
    bench.registry.subjectHandled = false;
    const again = await pushIndex(options);
    assert.equal(again.blobsSent, 0);
    assert.equal(again.bytesSent, 0);
    assert.equal(again.found, "tag");
  });

  it("pushes the newest index of the image, or the one that is named", async () => {
    await using bench = await openBench();
    const first = await createdOn(bench);
    const source = ociLayoutImageSource(join(bench.directory, "layout"));
    const options = {
      client: bench.registry.client,
      store: bench.store,
      reference: bench.reference,
    };
    await new Promise((resolve) => setTimeout(resolve, 5));
    const second = await createIndex({
      source,
      store: bench.store,
      minLayerSizeBytes: 0,
      spanSizeBytes: 65_536,
    });
    assert.equal((await pushIndex(options)).indexDigest, second.indexDescriptor.digest);
    const { digest } = first.indexDescriptor;
    assert.equal((await pushIndex({ ...options, indexDigest: digest })).indexDigest, digest);
  });

  it("refuses when the store has no index of the image, or the named one is of another", async () => {
    await using bench = await openBench();
    const image = await twoLayerLayout(join(bench.directory, "layout"));
    await loadRegistry(bench.registry, image);
    const options = {
      client: bench.registry.client,
      store: bench.store,
      reference: bench.reference,
    };
    await assert.rejects(pushIndex(options), failure("not_found", /soci create/));
    const other = join(bench.directory, "other");
    await writeLayout(other, [gzipLayer(await buildTar(fileItems("a", 10)))]);
    const { indexDescriptor } = await createIndex({
      source: ociLayoutImageSource(other),
      store: bench.store,
      minLayerSizeBytes: 0,
    });
    const pushing = pushIndex({ ...options, indexDigest: indexDescriptor.digest });
    await assert.rejects(pushing, failure("failed_precondition", /it is of manifest/));
    const gone = sha256(Buffer.from("gone"));
    await assert.rejects(pushIndex({ ...options, indexDigest: gone }), failure("not_found", /./));
    assert.deepEqual(bench.registry.writes, []);
  });

  it("tells of other indexes that the registry has, or does not push then", async () => {
    await using bench = await openBench();
    const created = await createdOn(bench);
    const { client } = bench.registry;
    const { store, reference } = bench;
    const index = created.indexDescriptor.digest;
    assert.deepEqual((await pushIndex({ client, store, reference })).others, []);
    const source = ociLayoutImageSource(join(bench.directory, "layout"));
    const options = { store, minLayerSizeBytes: 0, spanSizeBytes: 65_536 };
    const second = (await createIndex({ ...options, source })).indexDescriptor.digest;
    const skipped = await pushIndex({ client, store, reference, existing: "skip", source });
    assert.deepEqual(skipped.others, [index]);
    assert.ok(skipped.isSkipped);
    assert.ok(!bench.registry.manifests.has(second));
    const warned = await pushIndex({ client, store, reference, existing: "warn" });
    assert.deepEqual([warned.others, warned.isSkipped], [[index], false]);
    assert.ok(bench.registry.manifests.has(second));
    const again = await pushIndex({
      client,
      store,
      reference,
      existing: "skip",
      indexDigest: second,
    });
    assert.deepEqual(again.others, [index]);
  });

  it("leaves no manifest when a blob can't be sent", async () => {
    await using bench = await openBench();
    await createdOn(bench);
    bench.registry.faults.set("pushBlob", new AppError("permission_denied", "no"));
    const { client } = bench.registry;
    const pushing = pushIndex({ client, store: bench.store, reference: bench.reference });
    await assert.rejects(pushing, failure("permission_denied", /no/));
    assert.deepEqual(bench.registry.writes, []);
  });
});
