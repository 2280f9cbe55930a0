import assert from "node:assert/strict";
import { mkdir, rename, rm, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, it } from "node:test";
import type { Digest } from "@soci-ts/core";
import { type BuiltImage, command, readLayoutBlob } from "@soci-ts/testkit";
import { ociLayoutImageSource, parseOciLayoutName } from "./oci-layout-source.ts";
import { failure, openBench, twoLayerLayout } from "./testing/fixtures.ts";

function fileOf(image: BuiltImage, digest: string): string {
  return join(image.directory, "blobs", digest.replace(":", "/"));
}

async function writeIndex(image: BuiltImage, manifests: readonly object[]): Promise<void> {
  const text = JSON.stringify({ schemaVersion: 2, manifests });
  await writeFile(join(image.directory, "index.json"), text);
}

describe("parseOciLayoutName()", () => {
  it("splits a tag off where there can be one", () => {
    const cases: readonly [string, object | undefined][] = [
      ["oci:dir", { directory: "dir" }],
      ["oci:/srv/a:v1.2", { directory: "/srv/a", tag: "v1.2" }],
      ["oci:/srv/a:b/c", { directory: "/srv/a:b/c" }],
      ["oci:/srv/a:b/", { directory: "/srv/a:b/" }],
      ["oci:a:b:c", { directory: "a:b", tag: "c" }],
      ["docker.io/library/oci:v1", undefined],
    ];
    for (const [text, expected] of cases)
      assert.deepEqual(parseOciLayoutName(text), expected, text);
    assert.throws(() => parseOciLayoutName("oci:"), failure("invalid_argument", /empty/));
  });
});

describe("ociLayoutImageSource()", () => {
  it("finds the only image, with and without its tag", async () => {
    await using bench = await openBench();
    const image = await twoLayerLayout(bench.directory);
    for (const tag of [undefined, "latest"]) {
      const resolved = await ociLayoutImageSource(image.directory, tag).resolve(undefined);
      assert.equal(resolved.manifestDescriptor.digest, image.manifest.digest);
      const config = await resolved.config();
      assert.equal(config.layers.length, 2);
    }
    const source = ociLayoutImageSource(image.directory, "v2");
    await assert.rejects(source.resolve(undefined), failure("not_found", /"latest"/));
  });

  it("reads blobs whole and in part", async () => {
    await using bench = await openBench();
    const image = await twoLayerLayout(bench.directory);
    const source = ociLayoutImageSource(image.directory);
    const resolved = await source.resolve(undefined);
    const [layer] = resolved.manifest.layers;
    const expected = Buffer.from(await readLayoutBlob(image.directory, layer!.digest));
    const blob = source.openBlob(layer!);
    assert.deepEqual(Buffer.from(await blob.readAt(10, 100)), expected.subarray(10, 110));
    const pieces: Uint8Array[] = [];
    for await (const piece of blob.stream(5, blob.size)) pieces.push(piece);
    assert.deepEqual(Buffer.concat(pieces), expected.subarray(5));
    await assert.rejects(blob.readAt(blob.size, 1), failure("out_of_range", /bytes/));
  });

  it("chooses by platform, from index.json and from an image index in it", async () => {
    await using bench = await openBench();
    const image = await twoLayerLayout(bench.directory);
    const arm = { os: "linux", architecture: "arm64" };
    const { manifest } = image;
    const entries = [
      { ...manifest, platform: arm },
      {
        ...manifest,
        digest: image.config.digest,
        platform: { os: "linux", architecture: "s390x" },
      },
    ];
    await writeIndex(image, entries);
    const source = ociLayoutImageSource(image.directory);
    const resolved = await source.resolve(arm);
    assert.equal(resolved.manifestDescriptor.digest, manifest.digest);
    const windows = source.resolve({ os: "windows", architecture: "amd64" });
    await assert.rejects(windows, failure("not_found", /linux\/arm64/));
  });

  it("asks for a tag where there are several images", async () => {
    await using bench = await openBench();
    const image = await twoLayerLayout(bench.directory);
    const named = (tag: string, digest: string): object => ({
      ...image.manifest,
      digest,
      annotations: { "org.opencontainers.image.ref.name": tag },
    });
    await writeIndex(image, [named("a", image.manifest.digest), named("b", image.config.digest)]);
    const source = ociLayoutImageSource(image.directory);
    await assert.rejects(source.resolve(undefined), failure("invalid_argument", /"a", "b"/));
    const resolved = await ociLayoutImageSource(image.directory, "a").resolve(undefined);
    assert.equal(resolved.manifestDescriptor.digest, image.manifest.digest);
  });

  it("refuses a single image of another platform than was asked for", async () => {
    await using bench = await openBench();
    const image = await twoLayerLayout(bench.directory);
    const wanted = { os: "linux", architecture: "riscv64" };
    const resolving = ociLayoutImageSource(image.directory).resolve(wanted);
    await assert.rejects(resolving, failure("not_found", /linux\/riscv64/));
  });

  it("refuses links, directories and fifos in place of files", async () => {
    await using bench = await openBench();
    const image = await twoLayerLayout(bench.directory);
    const path = fileOf(image, image.manifest.digest);
    const source = ociLayoutImageSource(image.directory);
    await rename(path, `${path}.real`);
    await symlink(`${path}.real`, path);
    await assert.rejects(source.resolve(undefined), failure("invalid_argument", /a link/));
    await rm(path);
    await mkdir(path);
    await assert.rejects(source.resolve(undefined), failure("invalid_argument", /regular file/));
    await rm(path, { recursive: true });
    await command("mkfifo", [path]);
    await assert.rejects(source.resolve(undefined), failure("invalid_argument", /regular file/));
    await rm(path);
    await assert.rejects(source.resolve(undefined), failure("not_found", /does not exist/));
  });

  it("refuses a manifest that does not have its digest or size", async () => {
    await using bench = await openBench();
    const image = await twoLayerLayout(bench.directory);
    const path = fileOf(image, image.manifest.digest);
    const source = ociLayoutImageSource(image.directory);
    await writeFile(path, Buffer.alloc(image.manifest.size, " "));
    await assert.rejects(source.resolve(undefined), failure("data_loss", /digest/));
    await writeFile(path, "{}");
    await assert.rejects(source.resolve(undefined), failure("data_loss", /2 bytes/));
  });

  it("names the document that is no manifest", async () => {
    await using bench = await openBench();
    const image = await twoLayerLayout(bench.directory);
    const { sha256 } = await import("@soci-ts/core");
    const bytes = Buffer.from("<html>");
    const digest = sha256(bytes);
    await writeFile(fileOf(image, digest), bytes);
    await writeIndex(image, [{ ...image.manifest, digest, size: bytes.length }]);
    const resolving = ociLayoutImageSource(image.directory).resolve(undefined);
    await assert.rejects(resolving, failure("data_loss", new RegExp(`${digest}.* JSON`)));
  });

  it("refuses what is no layout, and indexes that nest too deep", async () => {
    await using bench = await openBench();
    const image = await twoLayerLayout(bench.directory);
    const source = ociLayoutImageSource(image.directory);
    await writeIndex(image, []);
    await assert.rejects(source.resolve(undefined), failure("not_found", /no tags/));
    let entry = await putIndex(image, [image.manifest]);
    for (let depth = 0; depth < 5; depth += 1) entry = await putIndex(image, [entry]);
    await writeIndex(image, [entry]);
    await assert.rejects(source.resolve(undefined), failure("failed_precondition", /nested/));
    await writeFile(join(image.directory, "oci-layout"), "not JSON");
    await assert.rejects(source.resolve(undefined), failure("data_loss", /JSON/));
    await writeFile(join(image.directory, "oci-layout"), '{"imageLayoutVersion":"9"}');
    await assert.rejects(source.resolve(undefined), failure("unimplemented", /version/));
  });

  it("does not read past a limit because a descriptor says so", async () => {
    await using bench = await openBench();
    const image = await twoLayerLayout(bench.directory);
    await writeIndex(image, [{ ...image.manifest, size: 1e12 }]);
    const resolving = ociLayoutImageSource(image.directory).resolve(undefined);
    await assert.rejects(resolving, failure("resource_exhausted", /at most/));
  });
});

async function putIndex(
  image: BuiltImage,
  manifests: readonly object[],
): Promise<{ mediaType: string; digest: Digest; size: number }> {
  const { sha256 } = await import("@soci-ts/core");
  const mediaType = "application/vnd.oci.image.index.v1+json";
  const bytes = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType, manifests }));
  const digest = sha256(bytes);
  await writeFile(fileOf(image, digest), bytes);
  return { mediaType, digest, size: bytes.length };
}
