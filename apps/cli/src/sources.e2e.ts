import assert from "node:assert/strict";
import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, it } from "node:test";
import {
  type BuiltImage,
  buildTar,
  command,
  hasProgram,
  pushLayout,
  startContainerd,
  startEmbeddedRegistry,
} from "@soci-ts/testkit";
import { documentOf, type RunResult, soci, temporaryDirectory } from "./testing/command-line.ts";
import { sampleImage } from "./testing/images.ts";

const NO_CONTAINERD = hasProgram("containerd") && process.getuid?.() === 0;
const skip = NO_CONTAINERD ? false : "containerd is not installed, or this is not root";

interface Folder {
  readonly root: string;
  readonly image: BuiltImage;
  /** The image's layout as a tar. */
  readonly archive: string;
}

async function prepare(directory: string): Promise<Folder> {
  const image = await sampleImage(directory);
  const archive = join(directory, "a.tar");
  const names = await readdir(image.directory);
  await command("tar", ["-C", image.directory, "-cf", archive, ...names]);
  return { root: join(directory, "store"), image, archive };
}

function create(root: string, args: readonly string[], stdin?: Uint8Array | string) {
  const all = ["--root", root, "--json", "create", "--min-layer-size", "0", ...args];
  return soci(all, stdin === undefined ? {} : { stdin });
}

function indexOf(result: RunResult): unknown {
  return documentOf(result)["index"];
}

describe("soci, with archives", () => {
  it("makes the same index from a layout, and its tar through a pipe and as a file on stdin", async () => {
    await using folder = await temporaryDirectory();
    const { root, image, archive } = await prepare(folder.path);
    const made = await Promise.all([
      create(root, [`oci:${image.directory}`]),
      create(root, ["-"], await readFile(archive)),
      create(root, ["-"], archive),
    ]);
    const [expected, piped, redirected] = made.map(indexOf);
    assert.match(String(expected), /^sha256:/);
    assert.equal(piped, expected);
    assert.equal(redirected, expected);
    assert.deepEqual(await readdir(join(root, "tmp")), []);
  });

  it("refuses what is no archive on stdin", async () => {
    await using folder = await temporaryDirectory();
    const root = join(folder.path, "store");
    const none = await create(root, ["-"], Buffer.alloc(5_000_000, "no tar "));
    assert.equal(none.exitCode, 11);
    assert.match(none.stdout.toString(), /Cannot use archive stdin/);
  });

  it("indexes each platform, and names the one that fails", async () => {
    await using folder = await temporaryDirectory();
    const { root, image } = await prepare(folder.path);
    const platform = (architecture: string): object => ({ os: "linux", architecture });
    const lost = { ...image.manifest, digest: `sha256:${"0".repeat(64)}` };
    const manifests = [
      { ...image.manifest, platform: platform("amd64") },
      { ...lost, platform: platform("arm64") },
      { ...image.manifest, platform: platform("riscv64") },
    ];
    const text = JSON.stringify({ schemaVersion: 2, manifests });
    await writeFile(join(image.directory, "index.json"), text);
    const all = await create(root, [`oci:${image.directory}`, "--all-platforms"]);
    assert.equal(all.exitCode, 3);
    const document = documentOf(all) as {
      platforms: { index: string }[];
      failed: { platform: string; error: { code: string } }[];
    };
    assert.equal(document.platforms.length, 2);
    assert.deepEqual(
      document.failed.map(({ platform: name, error }) => [name, error.code]),
      [["linux/arm64", "not_found"]],
    );
  });
});

describe("soci, with containerd", { skip }, () => {
  it("indexes what containerd has, by the reference's flags, and pushes it", async () => {
    await using folder = await temporaryDirectory();
    await using containerd = await startContainerd();
    await using registry = await startEmbeddedRegistry();
    const { root, image, archive } = await prepare(folder.path);
    const name = `${registry.host}/app:latest`;
    const base = `${registry.host}/app`;
    await containerd.ctr("images", "import", "--no-unpack", "--base-name", base, archive);
    // An archive of Docker's old form gets its manifest from containerd: ours has to be the same.
    const saved = join(folder.path, "saved.tar");
    await writeFile(saved, await savedArchive());
    await containerd.ctr("images", "import", "--no-unpack", saved);
    await pushLayout(image, registry.host, "app", "latest");

    const where = ["-a", containerd.socket, "-n", "test"];
    const [expected, own, ownSaved] = (
      await Promise.all([
        create(root, [`oci:${image.directory}`]),
        create(root, [...where, name]),
        create(root, [`docker-archive:${saved}:app:v1`]),
      ])
    ).map(indexOf);
    assert.match(String(expected), /^sha256:/);
    assert.equal(own, expected);
    const [push, imported] = await Promise.all([
      soci([...where, "--root", root, "push", "--all-platforms", "-q", name]),
      create(root, ["--address", `unix://${containerd.socket}`, "-n", "test", "containerd:app:v1"]),
    ]);
    assert.equal(push.stdout.toString(), `${expected}\n`, push.stderr);
    assert.equal(push.stderr, "");
    assert.equal(indexOf(imported), ownSaved);
  });
});

/** An archive as `docker save` wrote it before version 25; two of its layers are one tar, by a link. */
async function savedArchive(): Promise<Uint8Array> {
  const { createHash } = await import("node:crypto");
  const hex = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");
  const tar = await buildTar([{ name: "etc/a&b", content: "x".repeat(100_000) }]);
  const diffIds = [tar, tar].map((layer) => `sha256:${hex(layer)}`);
  const rootfs = { type: "layers", diff_ids: diffIds };
  const config = Buffer.from(JSON.stringify({ architecture: "amd64", os: "linux", rootfs }));
  const manifest = {
    Config: `${hex(config)}.json`,
    RepoTags: ["app:v1"],
    Layers: ["a/layer.tar", "b/layer.tar"],
  };
  return buildTar([
    { name: "a/", type: "directory" },
    { name: "a/layer.tar", content: tar },
    { name: "b/", type: "directory" },
    { name: "b/layer.tar", type: "symlink", linkname: "../a/layer.tar" },
    { name: manifest.Config, content: config },
    { name: "manifest.json", content: JSON.stringify([manifest]) },
  ]);
}
