import assert from "node:assert/strict";
import { join } from "node:path";
import { describe, it } from "node:test";
import {
  type BuiltImage,
  hasProgram,
  pushLayout,
  type RunningRegistry,
  readLayoutBlob,
  startDockerRegistry,
  startEmbeddedRegistry,
  startSlowLink,
} from "@soci-ts/testkit";
import { documentOf, soci, temporaryDirectory } from "./testing/command-line.ts";
import { largeImage, sampleImage } from "./testing/images.ts";

interface Kind {
  readonly name: string;
  readonly start: () => Promise<RunningRegistry>;
  readonly found: "referrers" | "tag";
  readonly unavailable: string | false;
}

const KINDS: readonly Kind[] = [
  {
    name: "the embedded registry",
    start: startEmbeddedRegistry,
    found: "referrers",
    unavailable: false,
  },
  {
    name: "docker-registry",
    start: startDockerRegistry,
    found: "tag",
    unavailable: hasProgram("docker-registry") ? false : "docker-registry is not installed",
  },
];

async function fetchBytes(host: string, path: string): Promise<Buffer> {
  const response = await fetch(`http://${host}/v2/${path}`, {
    headers: {
      accept: "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json",
    },
  });
  assert.equal(response.status, 200, path);
  return Buffer.from(await response.arrayBuffer());
}

async function assertUnaltered(host: string, image: BuiltImage): Promise<void> {
  const manifest = await fetchBytes(host, "app/manifests/v1");
  assert.ok(manifest.equals(await readLayoutBlob(image.directory, image.manifest.digest)));
  for (const { digest } of image.layers) {
    const blob = await fetchBytes(host, `app/blobs/${digest}`);
    assert.ok(blob.equals(await readLayoutBlob(image.directory, digest)), digest);
  }
}

async function referrersOf(kind: Kind, host: string, digest: string): Promise<string[]> {
  const path =
    kind.found === "referrers"
      ? `app/referrers/${digest}`
      : `app/manifests/${digest.replace(":", "-")}`;
  const index = JSON.parse((await fetchBytes(host, path)).toString()) as {
    manifests: { digest: string }[];
  };
  return index.manifests.map((entry) => entry.digest);
}

for (const kind of KINDS) {
  describe(`soci, with ${kind.name}`, { skip: kind.unavailable }, () => {
    it("indexes from the registry and pushes beside the image, which stays as it is", async () => {
      await using folder = await temporaryDirectory();
      await using registry = await kind.start();
      const image = await sampleImage(folder.path);
      await pushLayout(image, registry.host, "app", "v1");
      const root = join(folder.path, "store");
      const name = `${registry.host}/app:v1`;
      const args = ["--root", root, "--json", "create", "--push", "--min-layer-size", "0", name];
      const made = documentOf(await soci(args));
      const pushed = made["pushed"] as { found: string; blobsSent: number };
      assert.equal(pushed.found, kind.found);
      assert.equal(pushed.blobsSent, 3);
      assert.deepEqual(await referrersOf(kind, registry.host, image.manifest.digest), [
        made["index"],
      ]);
      await assertUnaltered(registry.host, image);

      const again = documentOf(await soci(["--root", root, "--json", "push", name]));
      assert.equal(again["blobsSent"], 0);
      assert.equal(again["index"], made["index"]);
      assert.deepEqual(await referrersOf(kind, registry.host, image.manifest.digest), [
        made["index"],
      ]);
      const doctor = await soci(["--root", root, "doctor", name]);
      assert.match(doctor.stdout.toString(), new RegExp(`ok +image .*${image.manifest.digest}`));
    });

    it("fetches only the spans that hold a file", async () => {
      await using folder = await temporaryDirectory();
      await using registry = await kind.start();
      const image = await largeImage(folder.path, 24_000_000);
      await pushLayout(image, registry.host, "app", "v1");
      const root = join(folder.path, "store");
      const name = `${registry.host}/app:v1`;
      const args = [
        "--root",
        root,
        "--json",
        "create",
        "--span-size",
        "1048576",
        "--min-layer-size",
        "0",
      ];
      const made = documentOf(await soci([...args, name]));
      const [layer] = made["layers"] as { ztoc: string; sizeBytes: number }[];
      await using link = await startSlowLink(registry.host, { rttMs: 0, megabitPerSecond: 10_000 });
      const cat = await soci([
        "--root",
        root,
        "ztoc",
        "cat",
        layer?.ztoc ?? "",
        "data/3",
        "--ref",
        `${link.host}/app:v1`,
      ]);
      assert.equal(cat.stdout.length, 4_000_000, cat.stderr);
      const share = link.counts.bytesDown / (layer?.sizeBytes ?? 1);
      assert.ok(share < 0.5, `fetched ${share} of the layer`);
    });

    it("says what is missing when there is nothing to push", async () => {
      await using folder = await temporaryDirectory();
      await using registry = await kind.start();
      const image = await sampleImage(folder.path);
      await pushLayout(image, registry.host, "app", "v1");
      const root = join(folder.path, "store");
      const none = await soci(["--root", root, "push", `${registry.host}/app:v1`]);
      assert.equal(none.exitCode, 3);
      assert.match(none.stderr, /want one made by `soci create`/);
      const absent = await soci(["--root", root, "push", `${registry.host}/app:v2`]);
      assert.equal(absent.exitCode, 3);
    });
  });
}
