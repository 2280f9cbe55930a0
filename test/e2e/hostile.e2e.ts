// Images, layers and indexes that are broken, lie, or want too much: `soci create` and `soci mount` end with a typed error and one clear line,
// or do the right thing, in bounded memory; nothing is left mounted, and never a stack trace on stderr.
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { after, before, describe, it } from "node:test";
import { encodeZtoc, type LayerIndex } from "@soci-ts/layer-index";
import { scanTree } from "@soci-ts/testkit";
import { EIO } from "./fault-bench.ts";
import { HOSTILE_IMAGES } from "./hostile-images.ts";
import { FILES, forgedIndex, honestIndex, LAYER, LIES } from "./lying-ztocs.ts";
import { layerOfRaw, rawEntry, rawTar, repeatedLayer, zeroBomb } from "./raw-tar.ts";
import { type Comparison, compareFile, startReader } from "./readers.ts";
import { peakMemoryBytes, type SociRun, STACK_TRACE } from "./run-soci.ts";
import { digestOf, ScriptedRegistry } from "./scripted-registry.ts";
import { mountSkipReason } from "./soci-command.ts";
import { type TestMount, TestNode } from "./test-node.ts";

const MiB = 2 ** 20;
const MAX_PEAK_BYTES = 250 * MiB;
const DOORS = ["erofs", "loop", "fuse"] as const;
const ALL_EQUAL = Object.fromEntries(Object.keys(FILES).map((name) => [name, "equal"]));
const INDEX_ALL = ["--min-layer-size", "0"];

const options = { skip: mountSkipReason(), concurrency: 2, timeout: 400_000 };

describe("hostile input", options, () => {
  let work: string;
  let registry: ScriptedRegistry;
  let nodes = 0;

  before(async () => {
    work = await mkdtemp(join(tmpdir(), "soci-hostile-"));
    registry = await ScriptedRegistry.start();
  });

  after(async () => {
    await registry?.[Symbol.asyncDispose]();
    if (work !== undefined) await rm(work, { recursive: true, force: true });
  });

  function newNode(): TestNode {
    nodes += 1;
    return new TestNode(join(work, `node-${nodes}`));
  }

  /** Checks how a run ended: its exit code, and one line that says why. */
  function checkEnd(
    run: SociRun,
    want: { readonly exitCode: number; readonly says?: RegExp },
  ): void {
    const what = `${run.error.code}: ${run.error.message}\n${run.stderr}`;
    assert.equal(run.exitCode, want.exitCode, what);
    assert.match(run.error.message, want.says ?? /^$/);
    assert.doesNotMatch(run.stderr, STACK_TRACE);
    assert.ok(run.peakBytes < MAX_PEAK_BYTES, `${run.peakBytes / MiB} MiB`);
  }

  for (const { name, layers, parts, create, mount } of HOSTILE_IMAGES) {
    it(`is refused or taken for what it is: ${name}`, async () => {
      await using node = newNode();
      const image = registry.putImage(basename(node.directory), await layers(), parts?.(registry));
      checkEnd(await node.run("create", ...INDEX_ALL, image.reference), create);
      const target = await node.target("image");
      checkEnd(await node.run("mount", image.reference, target), mount);
      if (mount.exitCode === 0) await node.unmount({ target });
      assert.deepEqual(node.leftovers(), []);
    });
  }

  it("is streamed, never buffered: a GiB in a layer of a MiB", async () => {
    await using node = newNode();
    const image = registry.putImage("bomb", [zeroBomb("zeros", 1)]);
    await using whole = newNode();
    const wholly = await whole.mount(image.reference, "image");
    assert.equal(wholly.wholeLayers, 1);
    assert.ok(wholly.peakBytes < MAX_PEAK_BYTES, `${wholly.peakBytes / MiB} MiB`);
    assert.ok(peakMemoryBytes(wholly.pid) < MAX_PEAK_BYTES);
    await whole.unmount(wholly);
    await rm(whole.root, { recursive: true });

    checkEnd(await node.run("create", ...INDEX_ALL, image.reference), { exitCode: 0 });
    const mount = await node.mount(image.reference, "image");
    assert.equal(mount.lazyLayers, 1);
    const read = await startReader(
      "cmp",
      "-n",
      String(100 * MiB),
      join(mount.target, "zeros"),
      "/dev/zero",
    ).result;
    assert.equal(read.exitCode, 0, read.stderr);
    assert.ok(peakMemoryBytes(mount.pid) < MAX_PEAK_BYTES, `${peakMemoryBytes(mount.pid) / MiB}`);
    await node.unmount(mount);
  });

  it("is refused before it takes memory: an extended header of a GiB", async () => {
    await using node = newNode();
    const head = rawEntry({ name: "pax", flag: "x", size: 1024 * MiB });
    const image = registry.putImage("pax", [repeatedLayer(head, Buffer.alloc(64 * MiB, 32), 16)]);
    const want = { exitCode: 10, says: /extended header has 1073741824 bytes/ };
    checkEnd(await node.run("create", ...INDEX_ALL, image.reference), want);
    checkEnd(await node.run("mount", image.reference, await node.target("image")), want);
  });

  for (const door of DOORS) {
    it(`stays inside of the mount: paths and links that lead out (${door})`, async () => {
      await using node = newNode();
      const outside = `soci-hostile-${process.pid}`;
      const tar = rawTar([
        { name: "../../../up/file", content: "up" },
        { name: "/absolute/file", content: "absolute" },
        { name: "out", flag: "2", linkname: "/../../tmp" },
        { name: `out/${outside}`, content: "through a link" },
        { name: "out/../../over", content: "over" },
      ]);
      const image = registry.putImage(`paths-${door}`, [layerOfRaw(tar)]);
      const mount = await node.mount(image.reference, "image", "--door", door);
      const paths = (await scanTree(mount.target)).map(({ path }) => path).sort();
      assert.deepEqual(paths, [
        "",
        "absolute",
        "absolute/file",
        "out",
        "over",
        "tmp",
        `tmp/${outside}`,
        "up",
        "up/file",
      ]);
      assert.ok(!existsSync(join("/tmp", outside)));
      await node.unmount(mount);
    });

    it(`shows device nodes as they are (${door})`, async () => {
      await using node = newNode();
      const tar = rawTar([
        { name: "null", flag: "3", mode: 0o666, devmajor: 1, devminor: 3 },
        { name: "loop", flag: "4", mode: 0o640, devmajor: 7, devminor: 300 },
        { name: "pipe", flag: "6", mode: 0o600 },
      ]);
      const image = registry.putImage(`devices-${door}`, [layerOfRaw(tar)]);
      const mount = await node.mount(image.reference, "image", "--door", door);
      const tree = await scanTree(mount.target);
      // makedev(3): the minor's low byte, twelve bits of the major, the minor's other bits.
      const number = (major: number, minor: number): string =>
        String(major * 256 + (minor % 256) + Math.floor(minor / 256) * 2 ** 20);
      assert.deepEqual(
        tree.map(({ path, type, mode, rdev }) => [path, type, mode, rdev]),
        [
          ["", "dir", "755", undefined],
          ["loop", "block", "640", number(7, 300)],
          ["null", "char", "666", number(1, 3)],
          ["pipe", "fifo", "600", undefined],
        ],
      );
      await node.unmount(mount);
    });
  }

  it("takes its time, but no more memory: 50,000 entries", async () => {
    await using node = newNode();
    const entries = Array.from({ length: 50_000 }, (_, at) => ({ name: `${at % 100}/${at}` }));
    const image = registry.putImage("many", [layerOfRaw(rawTar(entries))]);
    checkEnd(await node.run("create", ...INDEX_ALL, image.reference), { exitCode: 0 });
    // The door "loop" shows the same metadata image as "erofs".
    for (const door of ["erofs", "fuse"]) {
      const mount = await node.mount(image.reference, "image", "--door", door);
      const find = startReader("find", mount.target, "-type", "f", "-printf", "x");
      assert.equal((await find.result).stdout.length, 50_000);
      for (const peakBytes of [mount.peakBytes, peakMemoryBytes(mount.pid)]) {
        assert.ok(peakBytes < MAX_PEAK_BYTES, `${peakBytes / MiB} MiB`);
      }
      await node.unmount(mount);
    }
  });

  describe("indexes", { concurrency: 2 }, () => {
    let honest: LayerIndex;

    before(async () => {
      for (const [name, content] of Object.entries(FILES)) {
        await writeFile(join(work, name), content);
      }
      honest = await honestIndex();
    });

    async function compareFiles({ target }: TestMount): Promise<Record<string, Comparison>> {
      const compared = Object.keys(FILES).map(
        async (name) => [name, await compareFile(join(target, name), join(work, name))] as const,
      );
      return Object.fromEntries(await Promise.all(compared));
    }

    for (const { name, ztoc, outcome } of LIES) {
      it(`give right bytes or EIO, whatever a ztoc says: ${name}`, async () => {
        await using node = newNode();
        const image = registry.putImage(basename(node.directory), [LAYER]);
        registry.putIndex(image, [ztoc(honest)]);
        const mount = await node.mount(image.reference, "image");
        assert.equal(mount.lazyLayers, outcome === "refused" ? 0 : 1);
        const found = await compareFiles(mount);
        const results = new Set(Object.values(found));
        assert.ok(!results.has("DIFFERENT"), JSON.stringify(found));
        assert.equal(results.has(EIO), outcome === "noticed", JSON.stringify(found));
        const where = outcome === "refused" ? mount.stderr : await mount.log();
        assert.match(where, new RegExp(`Cannot .*${image.layers[0]?.digest}|layer is read whole`));
        await node.unmount(mount);
      });
    }

    it("are passed over when they are none, or of another image", async () => {
      await using node = newNode();
      const image = registry.putImage(basename(node.directory), [LAYER]);
      const another = registry.putImage("another", [LAYER]);
      registry.putReferrer(image, Buffer.from("<html>"));
      registry.putReferrer(image, Buffer.from('{"schemaVersion":2}'));
      registry.putIndex(image, [encodeZtoc(honest)], { subject: another.manifest });
      const mount = await node.mount(image.reference, "image");
      assert.equal(mount.lazyLayers, 0);
      assert.deepEqual(await compareFiles(mount), ALL_EQUAL);
      await node.unmount(mount);
    });

    for (const size of [1000, 2 ** 50]) {
      it(`cost a layer its laziness, nothing else, when their ztoc of ${size} bytes is not there`, async () => {
        await using node = newNode();
        const image = registry.putImage(basename(node.directory), [LAYER]);
        const digest = digestOf(Buffer.from("not there"));
        registry.putIndex(image, [{ mediaType: "application/octet-stream", digest, size }]);
        const mount = await node.mount(image.reference, "image");
        assert.equal(mount.lazyLayers, 0);
        assert.match(mount.stderr, /layer is read whole/);
        assert.deepEqual(await compareFiles(mount), ALL_EQUAL);
        await node.unmount(mount);
      });
    }

    it("that are forged harm no other image that has the same layer", async () => {
      await using node = newNode();
      const lying = registry.putImage("lying", [LAYER]);
      registry.putIndex(lying, [encodeZtoc(forgedIndex(honest))]);
      const lied = await node.mount(lying.reference, "lying");
      assert.equal(lied.lazyLayers, 1);
      await compareFiles(lied);
      const honestly = registry.putImage("honest", [LAYER]);
      registry.putIndex(honestly, [encodeZtoc(honest)]);
      const plainly = registry.putImage("plain", [LAYER]);
      for (const { reference } of [honestly, plainly]) {
        const mount = await node.mount(reference, "right");
        assert.deepEqual(await compareFiles(mount), ALL_EQUAL);
        await node.unmount(mount);
      }
      await node.unmount(lied);
    });
  });
});
