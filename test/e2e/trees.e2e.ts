// The lazily mounted tree, through every door, equals what umoci and containerd unpack: bit for bit, in every attribute.
import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { mkdir, mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { gunzipSync } from "node:zlib";
import {
  type BuiltLayerBlob,
  buildDebianImage,
  buildTar,
  command,
  compareTrees,
  debianSkipReason,
  gzipLayer,
  hasProgram,
  layerOf,
  type RunningContainerd,
  type RunningRegistry,
  scanTree,
  startContainerd,
  startEmbeddedRegistry,
  type TreeEntry,
  umociUnpack,
  writeLayout,
} from "@soci-ts/testkit";
import { CHAIN } from "./chain-layers.ts";
import { mountSkipReason, soci } from "./soci-command.ts";

const GOLDEN = fileURLToPath(
  new URL("../../../packages/layer-index/testdata/golden", import.meta.url),
);
const CACHE = fileURLToPath(new URL("../../.cache/debian", import.meta.url));
const DEBIAN_IMAGES: Readonly<Record<string, readonly string[]>> = {
  python3: ["python3-minimal", "python3", "libcap2-bin", "iputils-ping"],
};
const STARTED_NS = BigInt(Date.now()) * 1_000_000n;
const DOORS = ["erofs", "loop", "fuse"] as const;

const missing = ["umoci", "containerd", "ctr", "skopeo"].filter((name) => !hasProgram(name));
const skip: string | false =
  mountSkipReason() || (missing.length > 0 && `not installed: ${missing.join(", ")}`);

const noPackages = await debianSkipReason();

describe("the mounted tree equals the unpacked one", { skip, timeout: 900_000 }, () => {
  let work: string;
  let registry: RunningRegistry;
  let containerd: RunningContainerd;

  before(async () => {
    work = await mkdtemp(join(tmpdir(), "soci-trees-"));
    registry = await startEmbeddedRegistry();
    containerd = await startContainerd();
  });

  after(async () => {
    await containerd?.[Symbol.asyncDispose]();
    await registry?.[Symbol.asyncDispose]();
    if (work !== undefined) await rm(work, { recursive: true, force: true });
  });

  for (const [name, packages] of Object.entries(DEBIAN_IMAGES)) {
    test(`Debian image ${name}`, { skip: noPackages }, async () => {
      const layout = join(work, name, "layout");
      await mkdir(layout, { recursive: true });
      await buildDebianImage(layout, {
        cache: CACHE,
        packages,
        extra: { "app/hello": name },
        gzipLevel: 4,
      });
      await checkImage(name, layout);
    });
  }

  const golden = readdirSync(GOLDEN).filter((file) => file.endsWith(".tar.gz"));
  for (const file of golden) {
    test(`golden layer ${file}`, async () => {
      const layout = join(work, file, "layout");
      await writeLayout(layout, [await goldenLayer(file)]);
      // They differ in how they were compressed, which is no business of the door.
      await checkImage(file, layout, DOORS.slice(0, 1));
    });
  }

  test("golden layers on top of each other, one of them uncompressed", async () => {
    const layout = join(work, "stack", "layout");
    const gnu = await goldenLayer("gnu-single-stream.tar.gz");
    const plain = gunzipSync(gnu.blob);
    await writeLayout(layout, [
      gnu,
      layerOf(plain, plain, "application/vnd.oci.image.layer.v1.tar"),
      await goldenLayer("pax-single-stream.tar.gz"),
    ]);
    await checkImage("stack", layout);
  });

  test("whiteouts, opaque directories, implied parents, a layer twice in the chain", async () => {
    const layout = join(work, "chain", "layout");
    const layers = await Promise.all(CHAIN.map(async (items) => gzipLayer(await buildTar(items))));
    const twice = layers[1];
    assert.ok(twice !== undefined);
    await writeLayout(layout, [...layers, twice]);
    await checkImage("chain", layout);
  });

  /** Pushes a layout, indexes it, mounts it through each of the doors and compares with both unpackers. */
  async function checkImage(
    name: string,
    layout: string,
    doors: readonly string[] = DOORS,
  ): Promise<void> {
    const reference = `${registry.host}/trees/${name}:latest`;
    await command("skopeo", [
      "copy",
      "-q",
      "--dest-tls-verify=false",
      `oci:${layout}:latest`,
      `docker://${reference}`,
    ]);
    const unpacked = join(work, name, "umoci");
    const snapshot = join(work, name, "containerd");
    await mkdir(join(work, name), { recursive: true });
    await containerd.mountLayout(layout, snapshot);
    // A whiteout that hides nothing shows as a device where containerd mounts a single layer; it is no file of the image.
    const byContainerd = (await scanTree(snapshot)).filter(
      ({ type, rdev }) => !(type === "char" && rdev === "0"),
    );
    const byUmoci = await scanTree(await umociUnpack(layout, unpacked));
    const options = { root: join(work, name, "store") };
    await soci(
      options,
      "create",
      reference,
      "--min-layer-size",
      "0",
      "--span-size",
      "1048576",
      "--push",
    );
    for (const door of doors) {
      const target = join(work, name, `mount-${door}`);
      await mkdir(target);
      await soci(options, "mount", reference, target, "--door", door);
      try {
        const mounted = await scanTree(target);
        assert.ok(mounted.length > 1, "the tree is empty");
        assert.deepEqual(
          compareTrees(mounted, byContainerd, (path, field) =>
            isUnpackTime(path, field, byContainerd),
          ).slice(0, 20),
          [],
          `${door} differs from containerd`,
        );
        assert.deepEqual(
          compareTrees(mounted, byUmoci, (path, field) =>
            sidesDiffer(path, field, byContainerd, byUmoci),
          ).slice(0, 20),
          [],
          `${door} differs from umoci`,
        );
      } finally {
        await soci(options, "unmount", target);
      }
    }
    await rm(join(work, name, "umoci"), { recursive: true, force: true });
  }
});

async function goldenLayer(file: string): Promise<BuiltLayerBlob> {
  const blob = await readFile(join(GOLDEN, file));
  return layerOf(gunzipSync(blob), blob, "application/vnd.oci.image.layer.v1.tar+gzip");
}

/** A directory that no layer names gets the time at which containerd unpacked it: nothing to be equal to. */
function isUnpackTime(path: string, field: string, byContainerd: readonly TreeEntry[]): boolean {
  if (field !== "mtimeNs") return false;
  const entry = byContainerd.find((candidate) => candidate.path === path);
  return entry?.type === "dir" && BigInt(entry.mtimeNs) > STARTED_NS;
}

/** Where the two unpackers themselves differ, containerd is right. */
function sidesDiffer(
  path: string,
  field: string,
  byContainerd: readonly TreeEntry[],
  byUmoci: readonly TreeEntry[],
): boolean {
  const find = (tree: readonly TreeEntry[]): unknown =>
    tree.find((entry) => entry.path === path)?.[field as keyof TreeEntry];
  return JSON.stringify(find(byContainerd)) !== JSON.stringify(find(byUmoci));
}
