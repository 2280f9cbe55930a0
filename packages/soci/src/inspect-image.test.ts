import assert from "node:assert/strict";
import { join } from "node:path";
import { describe, it } from "node:test";
import { AppError, sha256 } from "@soci-ts/core";
import type { Descriptor } from "@soci-ts/oci";
import { buildTar, gzipLayer, layerOf, writeLayout } from "@soci-ts/testkit";
import { createIndex } from "./create-index.ts";
import { type InspectImageOptions, inspectImage } from "./inspect-image.ts";
import { layerKind } from "./layer-kinds.ts";
import { ociLayoutImageSource } from "./oci-layout-source.ts";
import { parseSociIndex } from "./soci-index.ts";
import { type Bench, failure, fileItems, openBench } from "./testing/fixtures.ts";

const OCI = "application/vnd.oci.image.layer.v1.tar";
const SIZES = { spanSizeBytes: 65_536, minLayerSizeBytes: 1000 };

function descriptor(mediaType: string, annotations = {}): Descriptor {
  return { mediaType, digest: sha256(Buffer.from(mediaType)), size: 20_000_000, annotations };
}

async function sample({ directory, store }: Bench): Promise<InspectImageOptions> {
  const large = await buildTar(fileItems("etc/large", 200_000, 1));
  const layers = [
    gzipLayer(large),
    gzipLayer(await buildTar(fileItems("etc/tiny", 10))),
    layerOf(large, large.subarray(0, 5000), `${OCI}+zstd`),
    gzipLayer(await buildTar([...fileItems("b", 300_000, 2), ...fileItems("c", 7, 3)])),
  ];
  await writeLayout(join(directory, "layout"), layers);
  const source = ociLayoutImageSource(join(directory, "layout"));
  const made = await createIndex({ source, store, ...SIZES });
  const { manifest } = await source.resolve(undefined);
  return {
    layers: manifest.layers,
    index: parseSociIndex(await store.readBlob(made.indexDescriptor.digest)),
    readZtoc: (ztoc) => store.readBlob(ztoc.descriptor.digest),
    maxFiles: 3,
  };
}

describe("layerKind()", () => {
  it("tells kinds by media type and annotations", () => {
    const toc = { "containerd.io/snapshot/stargz/toc.digest": "sha256:x" };
    const chunked = { "io.github.containers.zstd-chunked.manifest-checksum": "x" };
    const docker = "application/vnd.docker.image.rootfs";
    const cases: readonly [string, Record<string, string>, string][] = [
      [`${OCI}+gzip`, {}, "gzip"],
      [`${OCI}+gzip`, toc, "eStargz"],
      [`${OCI}+zstd`, {}, "zstd"],
      [`${OCI}+zstd`, chunked, "zstd:chunked"],
      [OCI, toc, "tar"],
      [`${docker}.diff.tar.gzip`, {}, "gzip"],
      [`${docker}.foreign.diff.tar.gzip`, {}, "foreign"],
      ["application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", {}, "foreign"],
      [`${OCI}+gzip+encrypted`, {}, "encrypted"],
      [`${docker}.diff.tar.gzip+enc`, {}, "encrypted"],
      ["application/vnd.in-toto+json", {}, "unknown"],
    ];
    for (const [mediaType, annotations, kind] of cases) {
      assert.equal(layerKind(descriptor(mediaType, annotations)), kind, mediaType);
    }
  });
});

describe("inspectImage()", () => {
  it("says of each layer whether it is lazy, and of what it consists", async () => {
    await using bench = await openBench();
    const options = await sample(bench);
    const { layers, largestFiles } = await inspectImage(options);
    const whys = layers.map(({ whyNotLazy }) => whyNotLazy ?? "lazy");
    assert.match(whys.join("|"), /^lazy\|.*below 10485760 bytes\|zstd can't.*\|lazy$/);
    const { stated, ztoc } = layers[0]!;
    assert.equal(stated?.entryCount, 2);
    assert.equal(stated?.buildTool, "AWS SOCI CLI v0.2");
    assert.equal(ztoc, options.index?.ztocs[0]);
    assert.deepEqual(largestFiles, [
      { name: "b", layer: 3, sizeBytes: 300_000 },
      { name: "etc/large", layer: 0, sizeBytes: 200_000 },
      { name: "c", layer: 3, sizeBytes: 7 },
    ]);
    const one = await inspectImage({ ...options, maxFiles: 1 });
    assert.deepEqual(
      one.largestFiles.map(({ name }) => name),
      ["b"],
    );
  });

  it("has a reason for each kind that no index is made of", async () => {
    const kinds = [`${OCI}+gzip+encrypted`, `${OCI}+zstd`, "x/y", `${OCI}+gzip`];
    await using bench = await openBench();
    const { index, ...options } = await sample(bench);
    const layers = kinds.map((mediaType) => descriptor(mediaType));
    const inspected = await inspectImage({ ...options, index, layers });
    assert.deepEqual(
      inspected.layers.map(({ whyNotLazy }) => whyNotLazy),
      [
        "encrypted: no index can be made of it",
        "zstd can't be read at an offset",
        "not the media type of a layer that can be read",
        "the index has no ztoc for it",
      ],
    );
    const without = await inspectImage({ ...options, index: undefined });
    assert.equal(without.layers[0]?.whyNotLazy, "there is no index");
  });

  it("takes a ztoc that is broken or of another layer for a reason, a registry that is away for an error", async () => {
    await using bench = await openBench();
    const options = await sample(bench);
    const readZtoc = async () => Buffer.from("broken");
    const broken = await inspectImage({ ...options, readZtoc });
    assert.match(broken.layers[0]?.whyNotLazy ?? "", /its ztoc can't be used: .*ztoc/);
    const [first, ...others] = options.layers;
    const longer = [{ ...first!, size: first!.size + 1 }, ...others];
    const other = await inspectImage({ ...options, layers: longer });
    assert.match(other.layers[0]?.whyNotLazy ?? "", /it is of a blob of/);
    const away = new AppError("unavailable", "Cannot ask");
    await assert.rejects(
      inspectImage({ ...options, readZtoc: () => Promise.reject(away) }),
      failure("unavailable", /ask/),
    );
  });
});
