// Whatever happens to the files of a node's layer cache behind its back, what is read is right, or EIO: never wrong bytes.
import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { mkdir, open, readFile, rm, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { DisposeStack } from "@soci-ts/core";
import {
  command,
  type FaultProxy,
  hasProgram,
  mountsBelow,
  seededBytes,
  startFaultProxy,
} from "@soci-ts/testkit";
import { EIO, FaultNode, type LayerFiles, type MountedFaultImage } from "./fault-node.ts";

const skip = process.getuid?.() !== 0 && "the daemon needs root";

/** What is done to the folder of a layer's cache. */
type Damage = (folder: string) => Promise<void>;

const ruined =
  (file: string, ruin: (bytes: Buffer) => Buffer): Damage =>
  async (folder) => {
    const path = join(folder, file);
    const bytes = ruin(await readFile(path));
    // In place: the daemon has it open.
    await using handle = await open(path, "r+");
    await handle.write(bytes, 0, bytes.length, 0);
  };
const replaced =
  (file: string): Damage =>
  async (folder) => {
    await rm(join(folder, file));
    await mkdir(join(folder, file));
  };

const flip = (bytes: Buffer): Buffer =>
  bytes.map((byte, at) => (at % 1000 === 7 ? 255 - byte : byte)) as Buffer;

/** By the file whose layer has it. */
const DAMAGES: Readonly<Record<string, Damage>> = {
  "data-deleted": (folder) => rm(join(folder, "data")),
  "data-truncated": (folder) => truncate(join(folder, "data"), 100_000),
  "data-emptied": (folder) => truncate(join(folder, "data"), 0),
  "data-flipped": ruined("data", flip),
  "data-zeroed": ruined("data", (bytes) => bytes.fill(0)),
  "data-replaced": replaced("data"),
  "presence-deleted": (folder) => rm(join(folder, "presence")),
  "presence-truncated": (folder) => truncate(join(folder, "presence"), 70),
  "presence-flipped": ruined("presence", flip),
  "presence-replaced": replaced("presence"),
  "folder-deleted": (folder) => rm(folder, { recursive: true }),
  untouched: async () => {},
};
const NAMES = Object.keys(DAMAGES);

let seed = 500;
function nextSeed(): number {
  seed += 1;
  return seed;
}

const filesFor = (kind: string, length: number): readonly LayerFiles[] =>
  NAMES.map((name) => ({ [`${kind}-${name}`]: seededBytes(length, nextSeed()) }));
const namesOf = (kind: string): readonly string[] => NAMES.map((name) => `${kind}-${name}`);

function every<T>(names: readonly string[], value: T): Readonly<Record<string, T>> {
  return Object.fromEntries(names.map((name) => [name, value]));
}

/** So that the next read comes from the disk, and to the daemon. */
async function dropPageCache(): Promise<void> {
  await command("sync", []);
  await writeFile("/proc/sys/vm/drop_caches", "3");
}

/** The folders of a layer's cache that hold data. */
function cacheFolders(root: string, digest: string): readonly string[] {
  const layer = join(root, "store/layers", digest.replace(":", "-"));
  return readdirSync(layer).map((name) => join(layer, name));
}

async function damage(node: FaultNode, mounted: MountedFaultImage, kind: string): Promise<void> {
  for (const name of NAMES) {
    for (const folder of cacheFolders(node.daemon.root, mounted.digestOf(`${kind}-${name}`))) {
      await DAMAGES[name]?.(folder).catch((error: NodeJS.ErrnoException) => {
        // What an earlier round has taken away is not there to be damaged again.
        if (!["ENOENT", "EISDIR", "ERR_FS_EISDIR"].includes(error.code ?? "")) throw error;
      });
    }
  }
}

/** A file system of the layer caches alone, which fails as the test says. */
const DISKS: Readonly<
  Record<
    string,
    {
      readonly mount: (layers: string, image: string) => Promise<void>;
      readonly fail: (layers: string, image: string) => Promise<void>;
      readonly isReadable: boolean;
    }
  >
> = {
  full: {
    mount: (layers) => run("mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", layers),
    fail: async (layers) => {
      await writeFile(join(layers, "filler"), Buffer.alloc(4_000_000)).catch(() => {}); // that it fits not is the point
    },
    isReadable: true,
  },
  "read-only": {
    mount: (layers) => run("mount", "-t", "tmpfs", "tmpfs", layers),
    fail: async (layers) => {
      await run("mount", "--bind", layers, layers);
      await run("mount", "-o", "remount,bind,ro", layers);
    },
    isReadable: true,
  },
  broken: {
    mount: async (layers, image) => {
      await makeDisk(image);
      await run("mount", "-o", "loop,errors=remount-ro", image, layers);
    },
    fail: (_layers, image) => truncate(image, 2_000_000),
    isReadable: false,
  },
};

async function run(program: string, ...args: readonly string[]): Promise<void> {
  await command(program, [...args]);
}

async function makeDisk(image: string): Promise<void> {
  await writeFile(image, "");
  await truncate(image, 64_000_000);
  await run("mkfs.ext4", "-q", "-F", image);
}

const diskSkip = !hasProgram("mkfs.ext4") && "mkfs.ext4 is not installed";

/** Waits until a layer has so many bytes on the disk: reads are answered before that. */
async function untilCached(node: FaultNode, reference: string, sizeBytes: number): Promise<void> {
  for (let turn = 0; turn < 100; turn += 1) {
    const { images } = JSON.parse(await node.daemon.run("status", "--json")) as {
      readonly images: readonly {
        readonly imageReference: string;
        readonly layers: readonly { readonly presentBytes: number }[];
      }[];
    };
    const own = images.filter(({ imageReference }) => imageReference === reference);
    const layers = own.flatMap((image) => image.layers);
    if (layers.some(({ presentBytes }) => presentBytes >= sizeBytes)) return;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  throw new Error("what was read does not come to the disk");
}

describe("a node whose cache is damaged", { skip, timeout: 150_000 }, () => {
  let node: FaultNode;
  let proxy: FaultProxy;
  const stack = new DisposeStack();

  before(async () => {
    node = stack.use(await FaultNode.open("auto", ""));
    proxy = stack.use(await startFaultProxy(node.registry.host));
    await node.nameHosts("damage.test", proxy.host);
  });

  after(() => stack[Symbol.asyncDispose]());

  it("reads right bytes again, from memory or the registry, and EIO where that is gone", async (t) => {
    const [indexed, whole] = await Promise.all([
      node.mount(await node.put(filesFor("indexed", 300_000)), "damage.test/indexed"),
      node.mount(
        await node.put(filesFor("whole", 300_000), { isIndexed: false }),
        "damage.test/whole",
      ),
    ]);
    const images = { indexed, whole } as const;
    const compareAll = async (): Promise<Readonly<Record<string, string>>> => {
      const found = await Promise.all([
        indexed.compare(...namesOf("indexed")),
        whole.compare(...namesOf("whole")),
      ]);
      return { ...found[0], ...found[1] };
    };
    const all = [...namesOf("indexed"), ...namesOf("whole")];
    const right = every(all, "equal");
    assert.deepEqual(await compareAll(), right, "at first");
    const damageAll = async (): Promise<void> => {
      for (const [kind, mounted] of Object.entries(images)) await damage(node, mounted, kind);
    };

    await damageAll();
    await dropPageCache();
    assert.deepEqual(await compareAll(), right, "damaged while they are open");
    assert.ok((await node.metric("soci_layer_corrupt_chunks_total")) > 0);

    await damageAll();
    await node.daemon.killHelpers("serve-layers");
    await dropPageCache();
    assert.deepEqual(await compareAll(), right, "damaged before they are opened");

    await damageAll();
    await node.daemon.killHelpers("serve-layers");
    proxy.rule = () => ({ kind: "status", status: 404 });
    await dropPageCache();
    const found = await compareAll();
    const lost = all.filter((name) => found[name] !== "equal");
    t.diagnostic(
      `${lost.length} of ${all.length} damaged layers can't be read without the registry`,
    );
    for (const name of lost) assert.equal(found[name], EIO, name);
    for (const kind of ["indexed", "whole"]) {
      for (const name of ["untouched"]) assert.equal(found[`${kind}-${name}`], "equal");
      for (const name of ["data-flipped", "data-zeroed", "folder-deleted"]) {
        assert.equal(found[`${kind}-${name}`], EIO, `${kind}-${name}`);
      }
    }
    const explained = await node.daemon.run("explain", indexed.reference);
    assert.match(explained, /the answer is 404/);

    proxy.rule = undefined;
    const recovered = await Promise.all([
      indexed.compareUntilRead(...namesOf("indexed")),
      whole.compareUntilRead(...namesOf("whole")),
    ]);
    assert.deepEqual({ ...recovered[0], ...recovered[1] }, right, "when the registry is back");
  });

  for (const [kind, disk] of Object.entries(DISKS)) {
    it(`reads right bytes when its disk is ${kind}`, {
      skip: diskSkip,
    }, async () => {
      const layers = join(node.daemon.root, "store/layers");
      const image = join(node.directory, kind);
      await mkdir(layers, { recursive: true });
      await using undo = new DisposeStack();
      undo.defer(async () => {
        proxy.rule = undefined;
        for (const point of await mountsBelow(layers)) await run("umount", "--lazy", point);
      });
      await disk.mount(layers, image);
      const names = ["cached", "fresh", "late"] as const;
      const content = names.map((name) => ({ [name]: seededBytes(1_500_000, nextSeed()) }));
      const mounted = await node.mount(await node.put(content), "damage.test/disk");
      assert.deepEqual(await mounted.compare("cached"), { cached: "equal" });
      await untilCached(node, mounted.reference, 1_500_000);
      const noticed = async (): Promise<number> =>
        (await node.metric("soci_layer_cache_errors_total")) +
        (await node.metric("soci_layer_corrupt_chunks_total"));
      const before = await noticed();
      await disk.fail(layers, image);
      assert.deepEqual(await mounted.compare("fresh"), { fresh: "equal" });
      await node.daemon.killHelpers("serve-layers");
      await dropPageCache();
      assert.deepEqual(await mounted.compare(...names), every(names, "equal"));
      // What the kernel still has of a broken disk can't be foretold.
      if (disk.isReadable) assert.ok((await noticed()) > before, "it is counted");

      proxy.rule = () => ({ kind: "status", status: 404 });
      await node.daemon.killHelpers("serve-layers");
      await dropPageCache();
      const found = await mounted.compare(...names);
      for (const name of names)
        assert.match(found[name] ?? "", /^equal$|Input\/output error/, name);
      if (disk.isReadable) assert.equal(found["cached"], "equal");
    });
  }
});
