import assert from "node:assert/strict";
import { readdir, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { describe, it } from "node:test";
import { AppError, type Digest } from "@soci-ts/core";
import {
  ANNOTATION_IMAGE_MANIFEST_DIGEST,
  ANNOTATION_INDEX_DIGEST,
  type Descriptor,
  encodeIndex,
  type ImageIndex,
  type Manifest,
  MEDIA_TYPE_DOCKER_LAYER_GZIP,
  MEDIA_TYPE_DOCKER_MANIFEST_LIST,
  MEDIA_TYPE_OCI_CONFIG,
  MEDIA_TYPE_OCI_INDEX,
  MEDIA_TYPE_OCI_MANIFEST,
  MEDIA_TYPE_SOCI_INDEX_V2,
  parseManifest,
  parsePlatform,
} from "@soci-ts/oci";
import { type ConvertedImage, type ConvertImageOptions, convertImage } from "./convert-image.ts";
import { registryImageTarget } from "./image-target.ts";
import { ociLayoutImageSource } from "./oci-layout-source.ts";
import { ociLayoutImageTarget } from "./oci-layout-target.ts";
import { registryImageSource } from "./registry-source.ts";
import { parseSociIndex } from "./soci-index.ts";
import {
  type Bench,
  failure,
  loadRegistry,
  openBench,
  twoLayerLayout,
} from "./testing/fixtures.ts";
import { MemoryRegistry } from "./testing/memory-registry.ts";
import { DOCKER_TYPES, PlatformLayout } from "./testing/platform-layout.ts";

const AMD64 = { architecture: "amd64", os: "linux" };
const ARM64 = { architecture: "arm64", os: "linux", variant: "v8" };

/** Converts layout `from` into layout `to`. */
async function convertLayout(
  bench: Bench,
  { from, to = "converted" }: { readonly from: PlatformLayout; readonly to?: string },
  options: Partial<ConvertImageOptions> = {},
): Promise<ConvertedImage & { readonly index: ImageIndex; readonly layout: PlatformLayout }> {
  const layout = new PlatformLayout(join(bench.directory, to));
  const converted = await convertImage({
    source: ociLayoutImageSource(from.directory),
    target: await ociLayoutImageTarget(layout.directory),
    store: bench.store,
    spanSizeBytes: 65_536,
    minLayerSizeBytes: 0,
    ...options,
  });
  const document = parseManifest(await layout.read(converted.descriptor), MEDIA_TYPE_OCI_INDEX);
  assert.ok(document.kind === "index");
  return { ...converted, layout, index: document.index };
}

async function manifestOf(layout: PlatformLayout, entry: Descriptor): Promise<Manifest> {
  const document = parseManifest(await layout.read(entry), entry.mediaType);
  assert.ok(document.kind === "manifest");
  return document.manifest;
}

function openLayout(bench: Bench): PlatformLayout {
  return new PlatformLayout(join(bench.directory, "layout"));
}

describe("convertImage()", () => {
  it("binds index and manifest to each other, and leaves other platforms and attestations alone", async () => {
    await using bench = await openBench();
    const from = openLayout(bench);
    const [amd64, arm64] = [await from.image(AMD64), await from.image(ARM64)];
    const attestations = [await from.attestation(amd64), await from.attestation(arm64)];
    await from.tag([amd64, arm64, ...attestations]);
    const platforms = [parsePlatform("linux/amd64")];
    const { index, layout, platforms: made } = await convertLayout(bench, { from }, { platforms });

    const [image, other, attested, otherAttested, soci] = index.manifests;
    assert.equal(index.manifests.length, 5);
    assert.deepEqual(other, arm64);
    assert.deepEqual(otherAttested, attestations[1]);
    const sociDigest = soci!.digest;
    assert.deepEqual(image, {
      mediaType: MEDIA_TYPE_OCI_MANIFEST,
      digest: made[0]?.manifestDigest,
      size: (await layout.read(image!)).length,
      annotations: { [ANNOTATION_INDEX_DIGEST]: sociDigest },
      platform: AMD64,
    });
    assert.deepEqual(soci, {
      mediaType: MEDIA_TYPE_OCI_MANIFEST,
      digest: made[0]?.indexDescriptor?.digest,
      size: (await layout.read(soci!)).length,
      annotations: { [ANNOTATION_IMAGE_MANIFEST_DIGEST]: image!.digest },
      platform: AMD64,
      artifactType: MEDIA_TYPE_SOCI_INDEX_V2,
    });
    const annotations = {
      ...attestations[0]?.annotations,
      "vnd.docker.reference.digest": image!.digest,
    };
    assert.deepEqual(attested, { ...attestations[0], annotations });

    const before = await manifestOf(from, amd64);
    const expected = { ...before, annotations: { [ANNOTATION_INDEX_DIGEST]: sociDigest } };
    assert.deepEqual(await manifestOf(layout, image!), expected);
    const parsed = parseSociIndex(await layout.read(soci!));
    assert.equal(parsed.version, 2);
    assert.equal(parsed.ztocs[0]?.layerDigest, before.layers[0]?.digest);
    for (const entry of index.manifests) {
      const { config, layers } = await manifestOf(layout, entry);
      for (const blob of [config, ...layers])
        assert.equal((await layout.read(blob)).length, blob.size);
    }
  });

  it("gives a Docker list's manifests and configs OCI's types, indexed or not, and layers theirs", async () => {
    await using bench = await openBench();
    const from = openLayout(bench);
    const images = [await from.image(AMD64, DOCKER_TYPES), await from.image(ARM64, DOCKER_TYPES)];
    await from.tag(images, MEDIA_TYPE_DOCKER_MANIFEST_LIST);
    const platforms = [parsePlatform("linux/arm64")];
    const { index, layout } = await convertLayout(bench, { from }, { platforms });
    assert.equal(index.mediaType, MEDIA_TYPE_OCI_INDEX);
    assert.equal(index.manifests.length, 3);
    for (const entry of index.manifests.slice(0, 2)) {
      assert.equal(entry.mediaType, MEDIA_TYPE_OCI_MANIFEST);
      const manifest = await manifestOf(layout, entry);
      assert.equal(manifest.mediaType, MEDIA_TYPE_OCI_MANIFEST);
      assert.equal(manifest.config.mediaType, MEDIA_TYPE_OCI_CONFIG);
      assert.equal(manifest.layers[0]?.mediaType, MEDIA_TYPE_DOCKER_LAYER_GZIP);
    }
    const [plain, indexed, soci] = index.manifests;
    assert.equal(plain?.annotations, undefined);
    assert.deepEqual(indexed?.annotations, { [ANNOTATION_INDEX_DIGEST]: soci?.digest });
    assert.deepEqual(indexed?.platform, ARM64);
    // The platform is spelled as it was asked for.
    assert.deepEqual(soci?.platform, { architecture: "arm64", os: "linux" });
  });

  it("indexes all platforms, or those named, each once and in that order", async () => {
    await using bench = await openBench();
    const from = openLayout(bench);
    await from.tag([await from.image(AMD64), await from.image(ARM64)]);
    const names = ["linux/arm64/v8", "linux/amd64", "linux/x86_64", "linux/aarch64"];
    const named = await convertLayout(bench, { from }, { platforms: names.map(parsePlatform) });
    const sociOf = (index: ImageIndex): (string | undefined)[] =>
      index.manifests
        .filter((entry) => entry.artifactType === MEDIA_TYPE_SOCI_INDEX_V2)
        .map((entry) => entry.platform?.architecture);
    assert.deepEqual(sociOf(named.index), ["arm64", "amd64"]);
    const all = await convertLayout(bench, { from, to: "all" }, { platforms: "all" });
    assert.deepEqual(sociOf(all.index), ["amd64", "arm64"]);
    assert.equal(all.index.manifests.length, 4);
    const none = convertLayout(bench, { from }, { platforms: [parsePlatform("linux/s390x")] });
    await assert.rejects(none, failure("not_found", /has linux\/amd64, linux\/arm64\/v8/));
  });

  it("replaces the index of a platform where it stands, and converts again to the same digest", async () => {
    await using bench = await openBench();
    const from = openLayout(bench);
    await from.tag([await from.image(AMD64), await from.image(ARM64)]);
    const first = await convertLayout(bench, { from }, { platforms: "all" });
    const from2 = first.layout;
    const again = await convertLayout(bench, { from: from2, to: "again" }, { platforms: "all" });
    assert.deepEqual(again.descriptor, first.descriptor);

    const platforms = [parsePlatform("linux/amd64")];
    const options = { platforms, spanSizeBytes: 131_072 };
    const wider = await convertLayout(bench, { from: from2, to: "wider" }, options);
    const [amd64, arm64, sociAmd64, sociArm64] = wider.index.manifests;
    assert.equal(wider.index.manifests.length, 4);
    assert.deepEqual(arm64, first.index.manifests[1]);
    assert.deepEqual(sociArm64, first.index.manifests[3]);
    assert.notEqual(sociAmd64?.digest, first.index.manifests[2]?.digest);
    assert.equal(amd64?.annotations?.[ANNOTATION_INDEX_DIGEST], sociAmd64?.digest);
    await assert.rejects(wider.layout.read(first.index.manifests[2]!), /ENOENT/);
  });

  it("passes over a platform without a ztoc, and refuses an image without any", async () => {
    await using bench = await openBench();
    const from = openLayout(bench);
    const images = [await from.image(AMD64), await from.image(ARM64, DOCKER_TYPES, 200_000)];
    await from.tag(images);
    const options = { platforms: "all", minLayerSizeBytes: 70_000 } as const;
    const made = await convertLayout(bench, { from }, options);
    assert.deepEqual(made.index.manifests[0], images[0]);
    assert.equal(made.index.manifests.length, 3);
    assert.match(made.platforms[0]?.layers[0]?.skipped ?? "", /below the minimum/);
    const none = convertLayout(bench, { from, to: "none" }, { ...options, minLayerSizeBytes: 1e9 });
    await assert.rejects(none, failure("failed_precondition", /no ztocs created/));
    assert.ok(!(await readdir(bench.directory)).includes("none"), "nothing is made for nothing");
  });

  it("leaves out what the source lists and does not hold, unless it is wanted", async () => {
    await using bench = await openBench();
    const from = openLayout(bench);
    const [amd64, arm64] = [await from.image(AMD64), await from.image(ARM64)];
    await from.tag([amd64, arm64]);
    await rm(from.fileOf(arm64.digest));
    const platforms = [parsePlatform("linux/amd64")];
    const made = await convertLayout(bench, { from }, { platforms });
    assert.deepEqual(
      made.index.manifests.map((entry) => entry.platform),
      [AMD64, AMD64],
    );
    assert.deepEqual(made.leftOut, [arm64]);
    const wanted = convertLayout(bench, { from }, { platforms: [parsePlatform("linux/arm64")] });
    await assert.rejects(wanted, failure("not_found", /./));
  });

  it("copies from registry to registry what is missing there, and names the image last", async () => {
    await using bench = await openBench();
    const image = await twoLayerLayout(join(bench.directory, "layout"));
    await loadRegistry(bench.registry, image);
    const elsewhere = new MemoryRegistry();
    const [layer] = image.layers;
    elsewhere.putBlob(
      await new PlatformLayout(image.directory).read({ digest: layer!.digest as Digest }),
    );
    const common = { store: bench.store, spanSizeBytes: 65_536, minLayerSizeBytes: 0 };
    const source = registryImageSource(bench.registry.client, bench.reference);
    const reference = { registry: "other.test", repository: "app", tag: "soci" };
    const target = registryImageTarget(elsewhere.client, reference);
    const made = await convertImage({ ...common, source, target });
    assert.equal(made.target, "other.test/app:soci");
    // A layer, the config, two ztocs, and the config of the SOCI index.
    assert.equal(made.blobsSent, 5);
    assert.ok(!elsewhere.writes.includes(`blob ${layer?.digest}`));
    const [manifest] = made.platforms;
    assert.deepEqual(
      elsewhere.writes.filter((write) => write.startsWith("manifest")),
      [
        `manifest ${manifest?.manifestDigest}`,
        `manifest ${manifest?.indexDescriptor?.digest}`,
        "manifest soci",
      ],
    );
    // The platform is the config's, since a single manifest does not say it.
    const bytes = elsewhere.manifests.get(made.descriptor.digest)!.bytes;
    const document = parseManifest(bytes, MEDIA_TYPE_OCI_INDEX);
    assert.ok(document.kind === "index");
    assert.equal(document.index.manifests[0]?.platform?.os, "linux");
    const again = await convertImage({ ...common, source, target });
    assert.deepEqual([again.blobsSent, again.descriptor], [0, made.descriptor]);
    assert.equal(
      again.platforms[0]?.layers.every((made) => made.reused),
      true,
    );
  });

  it("takes a single image's platform from its layout's entry, else from its config, without a variant that says nothing", async () => {
    await using bench = await openBench();
    const from = openLayout(bench);
    const image = await from.image(ARM64);
    const { platform: _told, ...bare } = image;
    for (const [entry, expected] of [
      [image, ARM64],
      [bare, { architecture: "arm64", os: "linux" }],
    ] as const) {
      await from.name([entry]);
      const { index } = await convertLayout(bench, { from });
      const platforms = index.manifests.map(({ platform }) => platform);
      assert.deepEqual(platforms, [expected, expected]);
    }
  });

  it("leaves an older index of another platform, and nested indexes, as they are", async () => {
    await using bench = await openBench();
    const from = openLayout(bench);
    await from.tag([await from.image(AMD64), await from.image(ARM64)]);
    const arm64 = { platforms: [parsePlatform("linux/arm64")] };
    const first = await convertLayout(bench, { from }, arm64);
    const nested = await first.layout.put(
      MEDIA_TYPE_OCI_INDEX,
      encodeIndex({ schemaVersion: 2, manifests: [first.index.manifests[0]!] }),
    );
    await first.layout.tag([...first.index.manifests, nested]);
    const amd64 = { platforms: [parsePlatform("linux/amd64")] };
    const second = await convertLayout(bench, { from: first.layout, to: "second" }, amd64);
    assert.equal(second.index.manifests.length, 5);
    assert.deepEqual(second.index.manifests.slice(1, 4), [
      first.index.manifests[1],
      first.index.manifests[2],
      nested,
    ]);
    for (const entry of second.index.manifests.slice(0, 3)) await manifestOf(second.layout, entry);
    assert.equal((await second.layout.read(nested)).length, nested.size);
  });

  it("keeps its index in the store under the manifest that it made", async () => {
    await using bench = await openBench();
    const from = openLayout(bench);
    await from.name([await from.image(AMD64)]);
    const { platforms, index } = await convertLayout(bench, { from });
    const manifestDigest = platforms[0]?.manifestDigest as Digest;
    const [record] = bench.store.listIndexes({ manifestDigest });
    assert.equal(record?.artifactType, MEDIA_TYPE_SOCI_INDEX_V2);
    assert.equal(record?.digest, index.manifests[1]?.digest);
  });
});

describe("ociLayoutImageTarget()", () => {
  it("adds to a layout, and replaces the image with the same tag", async () => {
    await using bench = await openBench();
    const from = openLayout(bench);
    await from.name([await from.image(AMD64)]);
    const directory = join(bench.directory, "converted");
    for (const tag of ["a", "b", undefined, "a", undefined]) {
      const target = await ociLayoutImageTarget(directory, tag);
      await convertLayout(bench, { from }, { target });
    }
    const { manifests } = JSON.parse(await readFile(join(directory, "index.json"), "utf8"));
    const tags = (manifests as Descriptor[]).map(({ annotations }) => annotations);
    const tagged = (tag: string) => ({ "org.opencontainers.image.ref.name": tag });
    assert.deepEqual(tags, [tagged("b"), tagged("a"), undefined]);
    const resolved = await ociLayoutImageSource(directory, "a").resolve(undefined);
    assert.ok(resolved.manifest.annotations?.[ANNOTATION_INDEX_DIGEST]);
  });

  it("refuses a folder of something else, and content that is not what its name says", async () => {
    await using bench = await openBench();
    const refused = ociLayoutImageTarget(bench.directory);
    await assert.rejects(refused, failure("failed_precondition", /neither empty nor/));
    const layout = new PlatformLayout(join(bench.directory, "new"));
    const target = await ociLayoutImageTarget(layout.directory);
    const blob = await new PlatformLayout(join(bench.directory, "x")).put(
      "a/b",
      Buffer.from("right"),
    );
    for (const text of ["wrong", "no", "much too long"]) {
      const put = target.putBlob(blob, async function* () {
        yield Buffer.from(text);
      });
      await assert.rejects(put, (error) => AppError.from(error).code === "data_loss", text);
    }
    assert.deepEqual(await readdir(join(layout.directory, "blobs/sha256")), []);
    assert.equal(await target.putBlob(blob, Buffer.from("right")), "sent");
    assert.equal(await target.putBlob(blob, Buffer.from("right")), "existed");
  });
});
