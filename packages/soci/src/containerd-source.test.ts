import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { AppError, type Digest, sha256 } from "@soci-ts/core";
import type { Descriptor } from "@soci-ts/oci";
import { readLayoutBlob } from "@soci-ts/testkit";
import {
  type ContainerdContent,
  containerdImageSource,
  parseContainerdName,
} from "./containerd-source.ts";
import { createIndex } from "./create-index.ts";
import { ociLayoutImageSource } from "./oci-layout-source.ts";
import { failure, openBench, twoLayerLayout } from "./testing/fixtures.ts";

/** A content store in memory, whose answers can be made wrong. */
class MemoryContent implements ContainerdContent {
  readonly images = new Map<string, Descriptor>();
  readonly blobs = new Map<string, Uint8Array>();
  /** Bytes that are left out at the end of every read; fewer than none are added. */
  missingBytes = 0;

  put(bytes: Uint8Array, mediaType: string): Descriptor {
    const digest = sha256(bytes);
    this.blobs.set(digest, bytes);
    return { mediaType, digest, size: bytes.length };
  }

  async findImage(name: string): Promise<Descriptor> {
    const found = this.images.get(name);
    if (found === undefined) throw new AppError("not_found", `image ${name}: not found`);
    return found;
  }

  async contentSize(digest: Digest): Promise<number> {
    return this.#blob(digest).length;
  }

  async *readContent(
    digest: Digest,
    { start, end }: { start: number; end: number },
  ): AsyncGenerator<Uint8Array> {
    const bytes = this.#blob(digest).subarray(start, end - Math.max(0, this.missingBytes));
    for (let at = 0; at < bytes.length; at += 1000) yield bytes.subarray(at, at + 1000);
    if (this.missingBytes < 0) yield new Uint8Array(-this.missingBytes);
  }

  #blob(digest: Digest): Uint8Array {
    const bytes = this.blobs.get(digest);
    if (bytes === undefined) throw new AppError("not_found", `content ${digest}: not found`);
    return bytes;
  }
}

async function loaded(
  directory: string,
): Promise<{ content: MemoryContent; image: Awaited<ReturnType<typeof twoLayerLayout>> }> {
  const image = await twoLayerLayout(directory);
  const content = new MemoryContent();
  for (const { digest, mediaType } of [image.manifest, image.config, ...image.layers]) {
    content.put(await readLayoutBlob(directory, digest), mediaType);
  }
  content.images.set("docker.io/library/app:v1", image.manifest as Descriptor);
  return { content, image };
}

describe("parseContainerdName()", () => {
  it("takes what follows the colon as it is", () => {
    assert.equal(parseContainerdName("containerd:docker.io/library/a:b"), "docker.io/library/a:b");
    assert.equal(parseContainerdName("registry.example/containerd:v1"), undefined);
    assert.throws(() => parseContainerdName("containerd:"), failure("invalid_argument", /empty/));
  });
});

describe("containerdImageSource()", () => {
  it("gives the same index as the layout, by the short and the full name", async () => {
    await using bench = await openBench();
    const { content, image } = await loaded(bench.directory);
    const common = { store: bench.store, minLayerSizeBytes: 0, spanSizeBytes: 65_536 };
    const expected = await createIndex({
      ...common,
      source: ociLayoutImageSource(image.directory),
    });
    for (const name of ["app:v1", "docker.io/library/app:v1"]) {
      const made = await createIndex({ ...common, source: containerdImageSource(content, name) });
      assert.equal(made.reference, `containerd:${name}`);
      assert.equal(made.indexDescriptor.digest, expected.indexDescriptor.digest);
    }
    const absent = containerdImageSource(content, "app:v2").resolve(undefined);
    await assert.rejects(absent, failure("not_found", /docker.io\/library\/app:v2/));
  });

  it("reads blobs in part, and notices bytes that are missing or too many", async () => {
    await using bench = await openBench();
    const { content, image } = await loaded(bench.directory);
    const source = containerdImageSource(content, "app:v1");
    const [layer] = image.layers as Descriptor[];
    const expected = content.blobs.get(layer!.digest)!;
    const blob = source.openBlob(layer!);
    assert.deepEqual(Buffer.from(await blob.readAt(10, 2345)), expected.subarray(10, 2355));
    assert.equal((await blob.readAt(0, 0)).length, 0);
    await assert.rejects(blob.readAt(blob.size, 1), failure("out_of_range", /bytes/));
    for (const missing of [1, -1]) {
      content.missingBytes = missing;
      await assert.rejects(blob.readAt(10, 2345), failure("data_loss", /the bytes end at/));
    }
    const longer = source.openBlob({ ...layer!, size: layer!.size + 1 });
    await assert.rejects(longer.readAt(0, 1), failure("data_loss", /as its descriptor says/));
  });

  it("lists the platforms whose manifests are there", async () => {
    await using bench = await openBench();
    const { content, image } = await loaded(bench.directory);
    const platform = (architecture: string) => ({ os: "linux", architecture });
    const mediaType = "application/vnd.oci.image.index.v1+json";
    const absent = { ...image.manifest, digest: `sha256:${"0".repeat(64)}` };
    const index = {
      schemaVersion: 2,
      mediaType,
      manifests: [
        { ...image.manifest, platform: platform("amd64") },
        { ...image.manifest, platform: platform("riscv64") },
        { ...absent, platform: platform("arm64") },
        { ...image.manifest, platform: { os: "unknown", architecture: "unknown" } },
      ],
    };
    const root = content.put(Buffer.from(JSON.stringify(index)), mediaType);
    content.images.set("many", root);
    const source = containerdImageSource(content, "many");
    assert.deepEqual(await source.platforms(), [platform("amd64"), platform("riscv64")]);
    await assert.rejects(source.resolve(platform("arm64")), failure("not_found", /want it pulled/));
  });

  it("hands on why containerd can't be asked", async () => {
    const content = new MemoryContent();
    content.findImage = async () => {
      throw new AppError("unavailable", "no such socket");
    };
    const resolving = containerdImageSource(content, "app:v1").resolve(undefined);
    await assert.rejects(resolving, failure("unavailable", /no such socket/));
  });
});
