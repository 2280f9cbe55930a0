import assert from "node:assert/strict";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { describe, it } from "node:test";
import {
  command,
  hasProgram,
  pushLayout,
  type RunningRegistry,
  startDockerRegistry,
  startEmbeddedRegistry,
} from "@soci-ts/testkit";
import { documentOf, soci, temporaryDirectory } from "./testing/command-line.ts";
import { sampleImage } from "./testing/images.ts";

interface ConvertDocument {
  readonly image: string;
  readonly blobsSent: number;
  readonly platforms: readonly { readonly manifest: string; readonly index: string }[];
}

interface ImageIndexDocument {
  readonly manifests: readonly {
    readonly digest: string;
    readonly artifactType?: string;
    readonly annotations: Readonly<Record<string, string>>;
  }[];
}

const NO_SKOPEO = hasProgram("skopeo") ? false : "skopeo is not installed";

const KINDS: readonly {
  readonly name: string;
  readonly start: () => Promise<RunningRegistry>;
  readonly skip: string | false;
}[] = [
  { name: "the embedded registry", start: startEmbeddedRegistry, skip: false },
  {
    name: "docker-registry",
    start: startDockerRegistry,
    skip: hasProgram("docker-registry") ? false : "docker-registry is not installed",
  },
];

async function convert(root: string, ...args: readonly string[]): Promise<ConvertDocument> {
  const result = await soci([
    "--root",
    root,
    "--json",
    "convert",
    "--min-layer-size",
    "0",
    ...args,
  ]);
  return documentOf(result) as unknown as ConvertDocument;
}

for (const { name, start, skip } of KINDS) {
  it(`soci convert goes from registry to registry, with ${name}`, {
    skip,
  }, async () => {
    await using folder = await temporaryDirectory();
    await using registry = await start();
    const image = await sampleImage(folder.path);
    await pushLayout(image, registry.host, "app", "v1");
    const root = join(folder.path, "store");
    const source = `${registry.host}/app:v1`;
    const made = await convert(root, source, `${registry.host}/other:soci`);
    // The image's blobs are mounted from the repository beside it; the index's config and the ztocs are sent.
    assert.equal(made.blobsSent, 3);
    const response = await fetch(`http://${registry.host}/v2/other/manifests/soci`, {
      headers: { accept: "application/vnd.oci.image.index.v1+json" },
    });
    assert.equal(response.headers.get("docker-content-digest"), made.image);
    const index = (await response.json()) as ImageIndexDocument;
    const [converted, indexed] = index.manifests;
    assert.equal(converted?.annotations["com.amazon.soci.index-digest"], indexed?.digest);
    assert.equal(indexed?.annotations["com.amazon.soci.image-manifest-digest"], converted?.digest);
    assert.equal(indexed?.artifactType, "application/vnd.amazon.soci.index.v2+json");
  });
}

describe("soci convert", () => {
  it("goes from a registry to a layout, which skopeo reads and copies", {
    skip: NO_SKOPEO,
  }, async () => {
    await using folder = await temporaryDirectory();
    await using registry = await startEmbeddedRegistry();
    const image = await sampleImage(folder.path);
    await pushLayout(image, registry.host, "app", "v1");
    const out = join(folder.path, "out");
    const source = `${registry.host}/app:v1`;
    const made = await convert(join(folder.path, "store"), source, `oci:${out}:v1`);
    // Image index, manifest, SOCI index, two configs, two layers, two ztocs.
    assert.equal((await readdir(join(out, "blobs/sha256"))).length, 9);
    const { stdout } = await command("skopeo", ["inspect", `oci:${out}:v1`]);
    const inspected = JSON.parse(stdout) as {
      Digest: string;
      Layers: string[];
    };
    assert.equal(inspected.Digest, made.image);
    assert.deepEqual(
      inspected.Layers,
      image.layers.map(({ digest }) => digest),
    );
    const copy = join(folder.path, "copy");
    await command("skopeo", ["copy", "--all", "-q", `oci:${out}:v1`, `oci:${copy}:v1`]);
    const copied = new Set(await readdir(join(copy, "blobs/sha256")));
    const blobs = await readdir(join(out, "blobs/sha256"));
    // Older ones write the image index anew, without artifact types.
    const lost = blobs.filter((name) => !copied.has(name) && `sha256:${name}` !== made.image);
    assert.deepEqual(lost, []);
  });

  it("refuses a destination that is no tag", async () => {
    await using folder = await temporaryDirectory();
    const root = join(folder.path, "store");
    const refused = await soci(["--root", root, "convert", "oci:/none", "registry.test/app"]);
    assert.equal(refused.exitCode, 2, refused.stderr);
    assert.match(refused.stderr, /it is no tag/);
  });
});
