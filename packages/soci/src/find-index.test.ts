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
import { type FindIndexOptions, findIndex, type IndexSearch } from "./find-index.ts";
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
  const { bytes, descriptor } = encodeSociIndexV1(image.manifestDescriptor, {
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

function taken(search: IndexSearch): [string | undefined, string, boolean][] {
  return search.considered.map((one) => [one.digest, one.origin, one.taken]);
}

function annotated(image: ResolvedImage, indexDigest: string): Pick<FindIndexOptions, "manifest"> {
  const annotations = { [ANNOTATION_INDEX_DIGEST]: indexDigest };
  return { manifest: { ...image.manifest, annotations } };
}

describe("findIndex()", () => {
  it("finds nothing when no place has one", async () => {
    await using bench = await openBench();
    const options = optionsFor(bench, await loadImage(bench));
    const search = await findIndex({ ...options, store: bench.store });
    assert.deepEqual(search, { found: undefined, considered: [] });
  });

  it("prefers the local store, then referrers, then the annotation", async () => {
    await using bench = await openBench();
    const image = await loadImage(bench);
    const options = optionsFor(bench, image);
    const v2 = putIndexV2(bench, image.manifest.layers[0]!);
    const bound = { ...options, ...annotated(image, v2), store: bench.store };
    const third = await findIndex(bound);
    assert.equal(third.found?.origin, "annotation");
    assert.equal(third.found?.version, 2);
    assert.deepEqual(third.considered, [
      { digest: v2, origin: "annotation", taken: true, why: "the only one" },
    ]);

    const referrer = putIndex(bench, image, image.manifest.layers);
    const second = await findIndex(bound);
    assert.equal(second.found?.origin, "referrers");
    assert.equal(second.found?.indexDescriptor.digest, referrer);
    assert.equal(second.found?.version, 1);
    assert.match(second.found?.reason ?? "", /only one/);
    assert.deepEqual(taken(second), [
      [referrer, "referrers", true],
      [v2, "annotation", false],
    ]);

    const source = ociLayoutImageSource(join(bench.directory, "layout"));
    const created = await createIndex({ source, store: bench.store, minLayerSizeBytes: 0 });
    const first = await findIndex(bound);
    assert.equal(first.found?.origin, "local");
    assert.equal(first.found?.indexDescriptor.digest, created.indexDescriptor.digest);
  });

  it("asks for referrers and the annotation's index at the same time", async () => {
    await using bench = await openBench();
    const image = await loadImage(bench);
    const v2 = putIndexV2(bench, image.manifest.layers[0]!);
    const { client } = bench.registry;
    let isReading = false;
    const signal = AbortSignal.timeout(5_000);
    const both: FindIndexOptions["client"] = {
      listReferrers: async (...asked) => {
        // Answers only when the other question is there: one after the other would never end.
        while (!isReading && !signal.aborted) await new Promise((resolve) => setImmediate(resolve));
        return client.listReferrers(...asked);
      },
      fetchManifest: async (...asked) => {
        isReading = true;
        return client.fetchManifest(...asked);
      },
    };
    const options = { ...optionsFor(bench, image), ...annotated(image, v2), client: both };
    assert.equal((await findIndex({ ...options, signal })).found?.origin, "annotation");
  });

  it("stops reading the annotation's index when the referrers have one", async () => {
    await using bench = await openBench();
    const image = await loadImage(bench);
    const referrer = putIndex(bench, image, image.manifest.layers);
    const v2 = putIndexV2(bench, image.manifest.layers[0]!);
    const { client } = bench.registry;
    let stopped: AbortSignal | undefined;
    const slow: FindIndexOptions["client"] = {
      listReferrers: (...asked) => client.listReferrers(...asked),
      fetchManifest: (name, io) => {
        if (name.digest !== v2) return client.fetchManifest(name, io);
        stopped = io?.signal;
        return new Promise(() => {});
      },
    };
    const options = { ...optionsFor(bench, image), ...annotated(image, v2), client: slow };
    assert.equal((await findIndex(options)).found?.indexDescriptor.digest, referrer);
    assert.equal(stopped?.aborted, true);
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
      const { found, considered } = await findIndex(optionsFor(bench, image));
      assert.equal(found?.indexDescriptor.digest, digests[2]);
      assert.match(found?.reason ?? "", /best of 4/);
      assert.equal(considered.length, 4);
      assert.deepEqual(considered[0]?.digest, digests[2]);
      const whyNot = (digest: Digest): string | undefined =>
        considered.find((one) => one.digest === digest && !one.taken)?.why;
      assert.match(whyNot(digests[1]!) ?? "", /has spans of 4194304 bytes/);
      assert.match(whyNot(digests[3]!) ?? "", /covers \d+ layer bytes/);
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
      const { found, considered } = await findIndex({
        ...optionsFor(bench, image),
        ...annotated(image, annotation),
      });
      const whys = considered.filter(({ taken }) => !taken).map(({ why }) => why);
      assert.ok(
        whys.some((why) => /there is none/.test(why)),
        whys.join("\n"),
      );
      assert.ok(
        whys.some((why) => /its subject is/.test(why)),
        whys.join("\n"),
      );
      assert.equal(found?.origin, "referrers");
      assert.equal(found?.indexDescriptor.digest, good);
    }
  });

  it("does not take an index that covers no layer of the image", async () => {
    await using bench = await openBench();
    const image = await loadImage(bench);
    const other = { ...image.manifest.layers[0]!, digest: sha256(Buffer.from("other")) };
    putIndex(bench, image, [other]);
    assert.equal((await findIndex(optionsFor(bench, image))).found, undefined);
  });

  it("refuses manifest bytes that do not have the digest", async () => {
    await using bench = await openBench();
    const image = await loadImage(bench);
    const digest = putIndex(bench, image, image.manifest.layers);
    bench.registry.referrers = [{ mediaType: MEDIA_TYPE_OCI_MANIFEST, digest, size: 1 }];
    const other = putIndex(bench, image, image.manifest.layers.slice(1));
    bench.registry.manifests.set(digest, bench.registry.manifests.get(other)!);
    assert.equal((await findIndex(optionsFor(bench, image))).found, undefined);
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

  it("takes the annotation's index when the referrers can't be asked, and says so", async () => {
    await using bench = await openBench();
    const image = await loadImage(bench);
    const v2 = putIndexV2(bench, image.manifest.layers[0]!);
    bench.registry.faults.set("listReferrers", new AppError("unavailable", "registry away"));
    const options = { ...optionsFor(bench, image), ...annotated(image, v2) };
    const { found, considered } = await findIndex(options);
    assert.equal(found?.indexDescriptor.digest, v2);
    assert.match(considered[0]?.why ?? "", /cannot be asked: registry away/);
  });

  it("passes on an abort", async () => {
    await using bench = await openBench();
    const image = await loadImage(bench);
    putIndex(bench, image, image.manifest.layers);
    const abort = new AbortController();
    const { client } = bench.registry;
    const aborting: FindIndexOptions["client"] = {
      ...client,
      listReferrers: async () => {
        abort.abort(new Error("enough"));
        throw abort.signal.reason;
      },
    };
    const options = { ...optionsFor(bench, image), client: aborting, signal: abort.signal };
    await assert.rejects(findIndex(options), /enough/);
  });
});

describe("findIndex() with a policy", () => {
  it("`bound` takes only what the manifest names, and asks for no referrers", async () => {
    await using bench = await openBench();
    const image = await loadImage(bench);
    const source = ociLayoutImageSource(join(bench.directory, "layout"));
    const created = await createIndex({ source, store: bench.store, minLayerSizeBytes: 0 });
    putIndex(bench, image, image.manifest.layers.slice(1));
    const v2 = putIndexV2(bench, image.manifest.layers[0]!);
    bench.registry.faults.set("listReferrers", new AppError("internal", "asked"));
    const policy = { kind: "bound" } as const;
    const options = { ...optionsFor(bench, image), store: bench.store, policy };
    const without = await findIndex(options);
    assert.equal(without.found, undefined);
    assert.deepEqual(taken(without), [
      [created.indexDescriptor.digest, "local", false],
      [undefined, "referrers", false],
    ]);
    assert.match(without.considered[0]?.why ?? "", /refused: the policy wants/);
    const within = await findIndex({ ...options, ...annotated(image, v2) });
    assert.equal(within.found?.indexDescriptor.digest, v2);
    assert.equal(within.found?.origin, "annotation");
  });

  it("`listed` takes only what is listed, wherever it is, and reads nothing else", async () => {
    await using bench = await openBench();
    const image = await loadImage(bench);
    const good = putIndex(bench, image, image.manifest.layers.slice(1));
    const better = putIndex(bench, image, image.manifest.layers);
    const v2 = putIndexV2(bench, image.manifest.layers[0]!);
    const options = { ...optionsFor(bench, image), ...annotated(image, v2) };
    const read: (string | undefined)[] = [];
    const client: FindIndexOptions["client"] = {
      ...bench.registry.client,
      fetchManifest: (name, io) => {
        read.push(name.digest);
        return bench.registry.client.fetchManifest(name, io);
      },
    };
    for (const digest of [good, v2]) {
      read.length = 0;
      const policy = { kind: "listed", digests: [digest] } as const;
      const search = await findIndex({ ...options, client, policy });
      assert.equal(search.found?.indexDescriptor.digest, digest);
      assert.deepEqual(read, [digest]);
      const refused = search.considered.find((one) => one.digest === better);
      assert.match(refused?.why ?? "", /refused: its digest is not among/);
    }
    const none = await findIndex({ ...options, policy: { kind: "listed", digests: [] } });
    assert.equal(none.found, undefined);
    assert.ok(none.considered.length > 0);
  });
});
