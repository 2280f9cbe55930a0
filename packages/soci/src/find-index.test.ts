import assert from "node:assert/strict";
import { join } from "node:path";
import { describe, it } from "node:test";
import { AppError, type Digest, sha256 } from "@soci-ts/core";
import {
  ANNOTATION_INDEX_DIGEST,
  ANNOTATION_LAYER_DIGEST,
  type Descriptor,
  EMPTY_CONFIG_DIGEST,
  encodeManifest,
  MEDIA_TYPE_OCI_MANIFEST,
  MEDIA_TYPE_SOCI_INDEX_V1,
  MEDIA_TYPE_SOCI_INDEX_V2,
  MEDIA_TYPE_ZTOC,
} from "@soci-ts/oci";
import { createIndex } from "./create-index.ts";
import { type FindIndexOptions, findIndex } from "./find-index.ts";
import type { ResolvedImage } from "./image-source.ts";
import { ociLayoutImageSource } from "./oci-layout-source.ts";
import { encodeSociIndexV1 } from "./soci-index.ts";
import {
  type Bench,
  failure,
  loadRegistry,
  openBench,
  twoLayerLayout,
} from "./testing/fixtures.ts";

async function loadImage(bench: Bench): Promise<ResolvedImage> {
  const image = await twoLayerLayout(join(bench.directory, "layout"));
  await loadRegistry(bench.registry, image);
  return ociLayoutImageSource(image.directory).resolve(undefined);
}

function optionsFor(bench: Bench, image: ResolvedImage): FindIndexOptions {
  const { manifestDescriptor, manifest } = image;
  return {
    client: bench.registry.client,
    repository: bench.reference,
    manifestDescriptor,
    manifest,
  };
}

/** An index v1 of the named layers of the image, put into the registry as a referrer. */
function putIndex(
  bench: Bench,
  image: ResolvedImage,
  layers: readonly Descriptor[],
  spanSizeBytes = 65_536,
): Digest {
  const { bytes, descriptor } = encodeSociIndexV1({
    subject: image.manifestDescriptor,
    ztocs: layers.map((layer) => ({
      digest: sha256(Buffer.from("z")),
      sizeBytes: 1,
      layer,
      spanSizeBytes,
    })),
  });
  bench.registry.putManifest(bytes, MEDIA_TYPE_OCI_MANIFEST);
  return descriptor.digest;
}

function putIndexV2(bench: Bench, layer: Descriptor): Digest {
  const annotations = { [ANNOTATION_LAYER_DIGEST]: layer.digest };
  const bytes = encodeManifest({
    schemaVersion: 2,
    mediaType: MEDIA_TYPE_OCI_MANIFEST,
    config: { mediaType: MEDIA_TYPE_SOCI_INDEX_V2, digest: EMPTY_CONFIG_DIGEST, size: 2 },
    layers: [{ mediaType: MEDIA_TYPE_ZTOC, digest: layer.digest, size: 1, annotations }],
  });
  return bench.registry.putManifest(bytes, MEDIA_TYPE_OCI_MANIFEST).digest;
}

function annotated(image: ResolvedImage, indexDigest: string): Pick<FindIndexOptions, "manifest"> {
  const annotations = { [ANNOTATION_INDEX_DIGEST]: indexDigest };
  return { manifest: { ...image.manifest, annotations } };
}

describe("findIndex()", () => {
  it("is undefined when no place has one", async () => {
    await using bench = await openBench();
    const options = optionsFor(bench, await loadImage(bench));
    assert.equal(await findIndex({ ...options, store: bench.store }), undefined);
  });

  it("prefers the local store, then the annotation, then referrers", async () => {
    await using bench = await openBench();
    const image = await loadImage(bench);
    const options = optionsFor(bench, image);
    const referrer = putIndex(bench, image, image.manifest.layers);
    const third = await findIndex({ ...options, store: bench.store });
    assert.equal(third?.origin, "referrers");
    assert.equal(third?.indexDescriptor.digest, referrer);
    assert.equal(third?.version, 1);
    assert.match(third?.reason ?? "", /only one/);

    const v2 = putIndexV2(bench, image.manifest.layers[0]!);
    const second = await findIndex({ ...options, ...annotated(image, v2), store: bench.store });
    assert.equal(second?.origin, "annotation");
    assert.equal(second?.version, 2);

    const source = ociLayoutImageSource(join(bench.directory, "layout"));
    const created = await createIndex({ source, store: bench.store, minLayerSizeBytes: 0 });
    const first = await findIndex({ ...options, ...annotated(image, v2), store: bench.store });
    assert.equal(first?.origin, "local");
    assert.equal(first?.indexDescriptor.digest, created.indexDescriptor.digest);
  });

  it("chooses the same among several, whatever their order", async () => {
    await using bench = await openBench();
    const image = await loadImage(bench);
    const { layers } = image.manifest;
    const digests = [
      putIndex(bench, image, layers.slice(1), 65_536),
      putIndex(bench, image, layers, 4_194_304),
      putIndex(bench, image, layers, 131_072),
      putIndex(bench, image, layers.slice(0, 1), 65_536),
    ];
    const descriptors = digests.map((digest) => ({
      mediaType: MEDIA_TYPE_OCI_MANIFEST,
      digest,
      size: 1,
      artifactType: MEDIA_TYPE_SOCI_INDEX_V1,
    }));
    for (const order of [descriptors, [...descriptors].reverse()]) {
      bench.registry.referrers = order;
      const found = await findIndex(optionsFor(bench, image));
      assert.equal(found?.indexDescriptor.digest, digests[2]);
      assert.match(found?.reason ?? "", /best of 4/);
    }
  });

  it("passes over a dangling or broken annotation, an index of another image, and one that is gone", async () => {
    await using bench = await openBench();
    const image = await loadImage(bench);
    const good = putIndex(bench, image, image.manifest.layers);
    const alien = { ...image, manifestDescriptor: { ...image.manifestDescriptor, digest: good } };
    const entry = { mediaType: MEDIA_TYPE_OCI_MANIFEST, size: 1 };
    bench.registry.referrers = [
      { ...entry, digest: sha256(Buffer.from("gone")) },
      { ...entry, digest: putIndex(bench, alien, image.manifest.layers) },
      { ...entry, digest: image.manifestDescriptor.digest },
      { ...entry, digest: good },
    ];
    for (const annotation of [
      "no digest",
      sha256(Buffer.from("dangling")),
      image.manifestDescriptor.digest,
    ]) {
      const found = await findIndex({
        ...optionsFor(bench, image),
        ...annotated(image, annotation),
      });
      assert.equal(found?.origin, "referrers");
      assert.equal(found?.indexDescriptor.digest, good);
    }
  });

  it("does not take an index that covers no layer of the image", async () => {
    await using bench = await openBench();
    const image = await loadImage(bench);
    const other = { ...image.manifest.layers[0]!, digest: sha256(Buffer.from("other")) };
    putIndex(bench, image, [other]);
    assert.equal(await findIndex(optionsFor(bench, image)), undefined);
  });

  it("refuses manifest bytes that do not have the digest", async () => {
    await using bench = await openBench();
    const image = await loadImage(bench);
    const digest = putIndex(bench, image, image.manifest.layers);
    bench.registry.referrers = [{ mediaType: MEDIA_TYPE_OCI_MANIFEST, digest, size: 1 }];
    const other = putIndex(bench, image, image.manifest.layers.slice(1));
    bench.registry.manifests.set(digest, bench.registry.manifests.get(other)!);
    assert.equal(await findIndex(optionsFor(bench, image)), undefined);
  });

  it("fails, and does not say there is none, when a place can't be asked", async () => {
    await using bench = await openBench();
    const image = await loadImage(bench);
    const away = new AppError("unavailable", "registry away");
    bench.registry.faults.set("listReferrers", away);
    await assert.rejects(findIndex(optionsFor(bench, image)), failure("unavailable", /away/));
    bench.registry.faults.clear();
    putIndex(bench, image, image.manifest.layers);
    bench.registry.faults.set("fetchManifest", away);
    await assert.rejects(findIndex(optionsFor(bench, image)), failure("unavailable", /away/));
  });
});
