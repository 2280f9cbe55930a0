// What a container sees through containerd's own mounts equals what containerd's overlayfs snapshotter unpacks from the same image.
import assert from "node:assert/strict";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import {
  buildTar,
  command,
  compareTrees,
  debianSkipReason,
  gzipLayer,
  hasProgram,
  type RunningRegistry,
  startEmbeddedRegistry,
  type TreeEntry,
  writeLayout,
} from "@soci-ts/testkit";
import { CHAIN } from "./chain-layers.ts";
import {
  containerdsForTests,
  type Door,
  doorsToTest,
  type LazyNode,
  publish,
  startLazyNode,
} from "./node-fixture.ts";
import { imageLayout, PAUSE, SMALL_IMAGES } from "./node-images.ts";
import { pullWithLabels } from "./node-pull.ts";
import { scanSnapshot } from "./node-trees.ts";
import { soci } from "./soci-command.ts";

// "loop" shows the same files as "erofs"; `trees.e2e.ts` goes through it.
const DOORS: readonly Door[] = ["erofs", "fuse"];
const STARTED_NS = BigInt(Date.now()) * 1_000_000n;

/** Which layers of an image have an index. */
type Indexed = "all" | "large" | "none";

/** An image, and how its layout comes to be in a folder. No layer of one is in another: what a node has got, it does not get again. */
interface TreeImage {
  readonly name: string;
  readonly indexed: Indexed;
  readonly layout: (folder: string, name: string) => Promise<string>;
}

const IMAGES: readonly TreeImage[] = [
  { name: "chain", indexed: "all", layout: chainLayout },
  { name: "chain-streamed", indexed: "none", layout: chainLayout },
  { name: "umoci", indexed: "all", layout: umociLayout },
  { name: "umoci-streamed", indexed: "none", layout: umociLayout },
  // One of its layers is large enough for an index.
  {
    name: "python-mixed",
    indexed: "large",
    layout: async () => (await imageLayout(SMALL_IMAGES.python)).directory,
  },
];

const { programs: versions, skip: noContainerd } = await containerdsForTests();
const missing = ["umoci", "skopeo"].filter((name) => !hasProgram(name));
const skip =
  noContainerd ||
  (missing.length > 0 && `not installed: ${missing.join(", ")}`) ||
  (await debianSkipReason());

describe("containerd's mounts show the unpacked tree", { skip, timeout: 900_000 }, () => {
  let work: string;
  let registry: RunningRegistry;

  before(async () => {
    work = await mkdtemp(join(tmpdir(), "soci-ctrees-"));
    registry = await startEmbeddedRegistry();
    await publish(registry.host, [{ image: PAUSE }], undefined);
    for (const image of IMAGES) await publishTree(image);
  });

  after(async () => {
    await registry?.[Symbol.asyncDispose]();
    if (work !== undefined) await rm(work, { recursive: true, force: true });
  });

  for (const { programs, door } of doorsToTest(versions, DOORS)) {
    describe(`containerd ${programs.version}, door ${door}`, () => {
      let lazy: LazyNode;

      before(async () => {
        lazy = await startLazyNode({ programs, door, registryHost: registry.host });
      });

      after(async () => {
        await lazy?.[Symbol.asyncDispose]();
      });

      // Whether a layer had an index is no business of the door, nor of containerd's release.
      const isFull = door === DOORS[0] && programs === versions.at(-1);
      const images = isFull ? IMAGES : IMAGES.filter(({ indexed }) => indexed !== "none");
      for (const { name } of images) {
        test(`image ${name}`, () => lazy.watched(() => checkTree(lazy, name)));
      }
    });
  }

  async function publishTree({ name, indexed, layout }: TreeImage): Promise<void> {
    const folder = join(work, name);
    await mkdir(folder);
    const reference = `${registry.host}/${name}:v1`;
    const source = `oci:${await layout(folder, name)}:latest`;
    const copy = ["copy", "-q", "--dest-tls-verify=false", source, `docker://${reference}`];
    await command("skopeo", copy);
    if (indexed === "none") return;
    const sizes = indexed === "all" ? ["--min-layer-size", "0"] : [];
    await soci({ root: join(folder, "store") }, "create", "--push", ...sizes, reference);
  }

  async function checkTree(lazy: LazyNode, repository: string): Promise<void> {
    const [lazily, plainly] = [lazy.node.snapshotter, "overlayfs"];
    const trees: TreeEntry[][] = [];
    for (const [at, snapshotter] of [lazily, plainly].entries()) {
      const namespace = `${repository}-${at}`;
      const { chainId, unpacked } = await pullWithLabels(lazy.node, {
        namespace,
        snapshotter,
        host: registry.host,
        repository,
        tag: "v1",
        reference: `registry.test/${repository}:v1`,
      });
      if (snapshotter !== plainly) assert.deepEqual(unpacked, [], "layers were handed back");
      trees.push(await scanSnapshot(lazy.node, { namespace, snapshotter, chainId }));
    }
    const [seen = [], unpacked = []] = trees;
    assert.ok(seen.length > 1, "the tree is empty");
    const differences = compareTrees(seen, unpacked, (path, field) =>
      isUnpackTime(path, field, unpacked),
    );
    assert.deepEqual(differences.slice(0, 20), []);
  }
});

/** A directory that no layer names gets the time at which containerd unpacked it: nothing to be equal to. */
function isUnpackTime(path: string, field: string, unpacked: readonly TreeEntry[]): boolean {
  if (field !== "mtimeNs") return false;
  const entry = unpacked.find((candidate) => candidate.path === path);
  return entry?.type === "dir" && BigInt(entry.mtimeNs) > STARTED_NS;
}

/** Whiteouts, opaque directories, implied parents, and a layer that is in the chain twice. */
async function chainLayout(folder: string, name: string): Promise<string> {
  const layers = await Promise.all(
    CHAIN.map(async (items, at) =>
      gzipLayer(await buildTar([...items, { name: `${name}-${at}` }])),
    ),
  );
  const layout = join(folder, "layout");
  await writeLayout(layout, [...layers, ...layers.slice(1, 2)]);
  return layout;
}

/** Layers as umoci writes them: what they hold lies below directories that they don't name. */
async function umociLayout(folder: string, name: string): Promise<string> {
  const layout = join(folder, "layout");
  const files = join(folder, "files");
  await command("sh", [
    "-ec",
    'mkdir -p "$0/tree/tmp" "$0/tree/srv/deep/er" && chmod 1777 "$0/tree/tmp" && chmod 710 "$0/tree/srv/deep" && echo "$1" > "$0/tree/srv/deep/er/one"',
    files,
    name,
  ]);
  await writeFile(join(files, "two"), `two ${name}\n`);
  await command("umoci", ["init", "--layout", layout]);
  await command("umoci", ["new", "--image", `${layout}:latest`]);
  const insert = (...args: readonly string[]): Promise<unknown> =>
    command("umoci", ["insert", "--image", `${layout}:latest`, ...args]);
  await insert(join(files, "tree"), "/");
  await insert(join(files, "two"), "/tmp/two");
  await insert(join(files, "two"), "/srv/deep/er/two");
  await insert("--whiteout", "/srv/deep/er/one");
  return layout;
}
