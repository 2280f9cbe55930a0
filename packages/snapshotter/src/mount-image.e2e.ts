import assert from "node:assert/strict";
import { execFileSync, spawn, spawnSync } from "node:child_process";
import { readFileSync, statSync } from "node:fs";
import { readFile, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeEach, describe, it } from "node:test";
import { delay } from "@soci-ts/core";
import { findMount, mount, unmount } from "@soci-ts/linux";
import {
  type BuiltLayerBlob,
  buildTar,
  compareTrees,
  gzipLayer,
  hasProgram,
  layerOf,
  scanTree,
  seededBytes,
} from "@soci-ts/testkit";
import type { Door } from "./mount-record.ts";
import { Fixture, mountObstacle } from "./testing/fixture.ts";
import { unmountImage } from "./unmount-image.ts";

const DOORS: readonly Door[] = ["erofs", "loop", "fuse"];
const skip = mountObstacle();
/** For tests that compare with a tree that umoci unpacked. */
const withUmoci = { skip: hasProgram("umoci") ? false : "umoci is not installed" };

const xattr = (name: string, value: string): Record<string, string> => ({
  [`SCHILY.xattr.${name}`]: value,
});

/** Three layers with everything that layers do to each other. */
async function richLayers(): Promise<BuiltLayerBlob[]> {
  const bottom = await buildTar([
    { name: "./", type: "directory", mode: 0o755 },
    { name: "etc/", type: "directory", mode: 0o750, uid: 3, gid: 4 },
    { name: "etc/passwd", content: "root\n", mode: 0o640 },
    { name: "etc/shadowed", content: "hidden by a whiteout\n" },
    { name: "gone/", type: "directory" },
    { name: "gone/a", content: "a" },
    { name: "kept/", type: "directory" },
    { name: "kept/old", content: "hidden by an opaque directory" },
    { name: "tmp/", type: "directory", mode: 0o1777 },
    { name: "big", content: seededBytes(700_000, 7) },
    { name: "empty", content: "" },
    { name: "with-xattr", content: "x", pax: xattr("user.note", "value") },
    { name: "link", type: "symlink", linkname: "etc/passwd" },
    { name: "usr/", type: "directory" },
    { name: "usr/lib/", type: "directory" },
    { name: "lib", type: "symlink", linkname: "usr/lib" },
    { name: "null", type: "character-device", devmajor: 1, devminor: 3, mode: 0o666 },
    { name: "fifo", type: "fifo", mode: 0o600 },
  ]);
  const middle = await buildTar([
    { name: "etc/.wh.shadowed", content: "" },
    { name: ".wh.gone", content: "" },
    { name: "kept/", type: "directory" },
    { name: "kept/.wh..wh..opq", content: "" },
    { name: "kept/new", content: "new" },
    { name: "tmp/x", content: "an implied parent keeps its mode" },
    { name: "hard", type: "link", linkname: "big" },
  ]);
  const top = await buildTar([
    { name: "etc/", type: "directory", mode: 0o755 },
    { name: "etc/passwd", content: "root\nuser\n", mode: 0o4755 },
    { name: "etc/twin", type: "link", linkname: "etc/passwd", mode: 0o4755 },
    { name: "caf\u00e9", content: "utf-8" },
    { name: "many/", type: "directory" },
    ...Array.from({ length: 700 }, (_, at) => ({ name: `many/name-${at}`, content: `${at}` })),
  ]);
  return [gzipLayer(bottom), gzipLayer(middle), gzipLayer(top)];
}

describe("mountImage()", { skip }, () => {
  let fixture: Fixture;
  beforeEach(async () => {
    fixture = await Fixture.open();
  });
  afterEach(async () => {
    await fixture[Symbol.asyncDispose]();
  });

  for (const door of DOORS) {
    it(`shows the tree that umoci unpacks, through the door ${door}`, withUmoci, async () => {
      await fixture.writeImage(await richLayers());
      await fixture.mount({ door }, (at) => at !== 1);
      const tree = await scanTree(fixture.target);
      assert.ok(tree.length > 700);
      assert.deepEqual(compareTrees(tree, await fixture.unpacked()), []);
      const again = await scanTree(fixture.target);
      assert.deepEqual(compareTrees(again, tree), []);
      const { wasDead, stats } = await fixture.unmount();
      assert.equal(wasDead, false);
      assert.ok(stats !== undefined && stats.requests > 0 && stats.bytesFetched > 400_000);
      assert.deepEqual(fixture.leftovers(), []);
    });

    it(
      `mounts no layer, one layer and a layer twice, through the door ${door}`,
      withUmoci,
      async () => {
        await fixture.writeImage([]);
        await fixture.mount({ door });
        assert.deepEqual(
          (await scanTree(fixture.target)).map(({ path }) => path),
          [""],
        );
        await fixture.unmount();
        const one = gzipLayer(
          await buildTar([
            { name: "./", type: "directory", mode: 0o711 },
            { name: "a", content: "1" },
          ]),
        );
        await fixture.writeImage([one]);
        await fixture.mount({ door });
        assert.equal(statSync(fixture.target).mode % 0o10000, 0o711);
        assert.deepEqual(
          compareTrees(await scanTree(fixture.target), await fixture.unpacked()),
          [],
        );
        await fixture.unmount();
        const two = gzipLayer(
          await buildTar([
            { name: ".wh.a", content: "" },
            { name: "b", content: "2" },
          ]),
        );
        await fixture.writeImage([one, two, one]);
        await fixture.mount({ door });
        assert.deepEqual(
          compareTrees(await scanTree(fixture.target), await fixture.unpacked()),
          [],
        );
        await fixture.unmount();
        assert.deepEqual(fixture.leftovers(), []);
      },
    );

    it(`mounts 128 layers, through the door ${door}`, async () => {
      const layers: BuiltLayerBlob[] = [];
      for (let at = 0; at < 128; at += 1) {
        layers.push(
          gzipLayer(
            await buildTar([
              { name: `f${at}`, content: `${at}\n` },
              { name: "same", content: `${at}` },
            ]),
          ),
        );
      }
      await fixture.writeImage(layers);
      await fixture.mount({ door });
      const listing = execFileSync("ls", [fixture.target]).toString().trim().split("\n");
      assert.equal(listing.length, 129);
      assert.equal(readFileSync(join(fixture.target, "same"), "utf8"), "127");
      assert.equal(readFileSync(join(fixture.target, "f0"), "utf8"), "0\n");
      await fixture.unmount();
      assert.deepEqual(fixture.leftovers(), []);
    });
  }

  it("reads layers that are not compressed", withUmoci, async () => {
    const tar = await buildTar([{ name: "plain", content: seededBytes(200_000, 3) }]);
    await fixture.writeImage([layerOf(tar, tar, "application/vnd.oci.image.layer.v1.tar")]);
    await fixture.mount({}, () => false);
    assert.deepEqual(compareTrees(await scanTree(fixture.target), await fixture.unpacked()), []);
    await fixture.unmount();
  });

  it("is read-only", async () => {
    await fixture.writeImage(await richLayers());
    await fixture.mount();
    await assert.rejects(writeFile(join(fixture.target, "new"), ""), { code: "EROFS" });
    await fixture.unmount();
  });

  it("sends no message for names and attributes once mounted through EROFS", async () => {
    await fixture.writeImage(await richLayers());
    const server = (await fixture.options(() => true)).server;
    const counts: number[] = [];
    // Someone else on the machine may drop the page cache meanwhile, hence three attempts.
    for (let attempt = 0; attempt < 3 && !counts.includes(0); attempt += 1) {
      const mounted = await fixture.mount({
        door: "erofs",
        server: { ...server, argv: [...server.argv, "--debug"] },
      });
      const messages = (): number =>
        readFileSync(mounted.logPath, "utf8").split("FUSE request").length;
      const before = messages();
      execFileSync("find", [fixture.target, "-printf", "%s %T@\n"]);
      counts.push(messages() - before);
      await fixture.unmount();
    }
    assert.ok(counts.includes(0), `messages: ${counts}`);
  });

  it(
    "answers a damaged layer with EIO and a reason, and reads on when it is mended",
    withUmoci,
    async () => {
      const tar = await buildTar([
        { name: "first", content: seededBytes(400_000, 5) },
        { name: "last", content: seededBytes(400_000, 6) },
      ]);
      const layer = gzipLayer(tar);
      await fixture.writeImage([layer]);
      const mounted = await fixture.mount();
      const { layers } = await fixture.options(() => true);
      const blob = join(fixture.layout, "blobs", layers[0]!.descriptor.digest.replace(":", "/"));
      const damaged = Buffer.from(layer.blob);
      damaged.fill(0x55, damaged.length - 3000, damaged.length - 1000);
      await writeFile(blob, damaged);
      const sum = (name: string): string =>
        spawnSync("cat", [join(fixture.target, name)]).stderr.toString();
      assert.match(sum("last"), /Input\/output error/);
      assert.equal(sum("first"), "");
      const log = await readFile(mounted.logPath, "utf8");
      assert.match(log, /FUSE request failed/);
      assert.ok(log.includes(layers[0]!.descriptor.digest));
      await writeFile(blob, layer.blob);
      // What is wrong at its source is not asked for again at once.
      await delay(3500);
      assert.equal(sum("last"), "");
      assert.deepEqual(compareTrees(await scanTree(fixture.target), await fixture.unpacked()), []);
      await fixture.unmount();
    },
  );

  it("refuses a busy unmount and an occupied directory, and changes nothing", async () => {
    await fixture.writeImage(await richLayers());
    await fixture.mount();
    await assert.rejects(fixture.mount(), { code: "failed_precondition" });
    const user = spawn("sleep", ["60"], {
      cwd: fixture.target,
    });
    await new Promise((resolve) => user.once("spawn", resolve));
    try {
      await assert.rejects(fixture.unmount(), { code: "failed_precondition" });
      assert.equal(readFileSync(join(fixture.target, "tmp/x"), "utf8").length, 32);
    } finally {
      user.kill();
      await new Promise((resolve) => user.once("exit", resolve));
    }
    await fixture.unmount();
    assert.deepEqual(fixture.leftovers(), []);
  });

  it("is found through a symbolic link, and not where it is not", async () => {
    await fixture.writeImage(await richLayers());
    const link = join(fixture.directory, "link");
    await symlink(fixture.target, link);
    await fixture.mount({ target: link });
    assert.equal(findMount(fixture.target)?.type, "overlay");
    await unmountThrough(fixture, link);
    await assert.rejects(fixture.unmount(), { code: "not_found" });
    await assert.rejects(fixture.mount({ target: join(fixture.directory, "none") }), {
      code: "not_found",
    });
  });

  it("does not unmount what is mounted on top of it", async () => {
    await fixture.writeImage(await richLayers());
    await fixture.mount();
    await mount({ source: "x", target: fixture.target, type: "tmpfs" });
    await assert.rejects(fixture.unmount(), { code: "failed_precondition" });
    await unmount(fixture.target);
    await fixture.unmount();
    assert.deepEqual(fixture.leftovers(), []);
  });

  it("chooses a door by trial, once", async () => {
    await fixture.writeImage(await richLayers());
    const first = await fixture.mount({ door: "auto" });
    assert.ok(first.doorReason.length > 10);
    await fixture.unmount();
    const path = join(fixture.directory, "root/mounts/door.json");
    const { mtimeNs } = statSync(path, { bigint: true });
    const second = await fixture.mount({ door: "auto" });
    assert.equal(second.door, first.door);
    assert.equal(statSync(path, { bigint: true }).mtimeNs, mtimeNs);
    await fixture.unmount();
    await writeFile(path, "damaged");
    await fixture.mount({ door: "auto" });
    await fixture.unmount();
  });
});

async function unmountThrough(fixture: Fixture, target: string): Promise<void> {
  await unmountImage({ store: fixture.store, target });
  assert.deepEqual(fixture.leftovers(), []);
}
