import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { mkdir, readdir, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, it } from "node:test";
import { type Logger, type Metrics, silentLogger, silentMetrics } from "@soci-ts/core";
import { setImmutable } from "@soci-ts/linux";
import { sealImage } from "../metadata-images.ts";
import { temporary } from "../testing/temporary.ts";
import { HeldFiles } from "./held-files.ts";
import type { LocalLayer } from "./local-data.ts";

interface Bench {
  readonly held: HeldFiles;
  /** As another daemon would. */
  readonly open: (protect?: typeof setImmutable) => HeldFiles;
  /** The data file of layer 1, which layer 2 uses too. */
  readonly data: string;
  readonly image: string;
  readonly names: string;
  /** What the kernel has open. */
  readonly kernel: { readonly erofs: Set<string>; readonly loops: string[] };
  readonly right: Set<number>;
  readonly errors: string[];
}

async function benched(test: (bench: Bench) => Promise<void>): Promise<void> {
  await using scratch = await temporary();
  const [data, other, image] = ["data", "other", "image"].map((it) => join(scratch.path, it));
  if (data === undefined || other === undefined || image === undefined) return;
  for (const path of [data, other]) await writeFile(path, path);
  await writeFile(image, sealImage(Buffer.from("image")));
  const paths = { heldFiles: join(scratch.path, "w"), runtime: join(scratch.path, "run") };
  await mkdir(paths.runtime);
  const right = new Set([1, 2]);
  const find = async (layer: number): Promise<LocalLayer | undefined> => {
    if (!right.has(layer)) return undefined;
    const first = { layer: 1, path: data };
    const devices = layer === 1 ? [first] : [{ layer: 2, path: other }, first];
    return { layerDigest: "sha256:x", imagePath: image, devices };
  };
  const kernel = { erofs: new Set<string>(), loops: [] as string[] };
  const inUse = () => ({ erofs: new Set(kernel.erofs), loops: [...kernel.loops] });
  const errors: string[] = [];
  const logger: Logger = { ...silentLogger, error: (text) => void errors.push(text) };
  const metrics: Metrics = { ...silentMetrics, count: (name) => void errors.push(name) };
  const open = (protect = (_: string, __: boolean): boolean => true): HeldFiles =>
    new HeldFiles({ paths, find, logger, metrics, inUse, protect });
  const names = paths.heldFiles;
  await test({ held: open(), open, data, image, names, kernel, right, errors });
}

const linksOf = async (path: string): Promise<number> => (await stat(path)).nlink;

describe("HeldFiles", () => {
  it("gives the files of a layer second names until the kernel has let go of them", async () => {
    await benched(async ({ held, data, names, kernel }) => {
      assert.equal(await held.isRight(1), true);
      const own = await held.hold(1);
      assert.deepEqual(own.devices, [{ layer: 1, path: join(names, "1", "1") }]);
      const both = await held.hold(2);
      assert.deepEqual(
        both.devices.map(({ path }) => path),
        [join(names, "2", "2"), join(names, "2", "1")],
      );
      assert.equal(await linksOf(data), 3);
      kernel.erofs.add("erofs-1");
      await held.mounting(1, async () => void kernel.erofs.add("erofs-2"));
      await held.mounting(2, async () => void kernel.loops.push(join(names, "2", "1")));
      await held.release(1);
      await held.release(2);
      assert.equal(await linksOf(data), 3, "containers have both");
      kernel.erofs.delete("erofs-2");
      await held.tidy();
      assert.equal(await linksOf(data), 2);
      kernel.loops.length = 0;
      await held.tidy();
      assert.equal(await linksOf(data), 1);
      assert.deepEqual(await readdir(names), []);
    });
  });

  it("holds nothing that is not right, and no layer with a damaged image", async () => {
    await benched(async ({ held, data, image, right }) => {
      right.clear();
      assert.equal(await held.isRight(1), false);
      await assert.rejects(held.hold(1), { code: "failed_precondition" });
      right.add(1);
      await writeFile(image, "damaged");
      await assert.rejects(held.hold(1), /metadata image/);
      assert.equal(await linksOf(data), 1);
    });
  });

  it("says once that a file was changed, and that it is not right any more", async () => {
    await benched(async ({ held, data, errors }) => {
      await held.hold(1);
      assert.equal(await held.isRight(1), true);
      await held.tidy();
      assert.deepEqual(errors, []);
      await writeFile(data, "changed");
      for (let turn = 0; turn < 2; turn += 1) await held.tidy();
      assert.equal(await held.isRight(1), false);
      assert.equal(errors.length, 2, errors.join());
      assert.equal(errors[0], "soci_snapshotter_local_files_changed_total");
    });
  });

  it("lets nobody change what it holds, whoever else holds it, and holds nothing where that can't be", async () => {
    await benched(async ({ open, data, names }) => {
      if (!setImmutable(data, false)) return; // this file system has no such thing
      const held = open(setImmutable);
      await held.hold(1);
      await held.hold(2);
      await assert.rejects(writeFile(data, "changed"), { code: "EPERM" });
      await held.release(2);
      await assert.rejects(writeFile(data, "changed"), { code: "EPERM" });
      assert.equal(await linksOf(data), 2);
      await held.release(1);
      assert.deepEqual(await readdir(names), []);
      await writeFile(data, data);

      const unable = open(() => false);
      assert.equal(await unable.isRight(1), true);
      await assert.rejects(unable.hold(1), { code: "unimplemented" });
      assert.equal(await unable.isRight(1), false);
      await unable.release(1);
      assert.equal(await linksOf(data), 1);
    });
  });

  it("takes over from an earlier daemon, and frees what is not mounted", async () => {
    await benched(async ({ held, open, data, names, errors, right }) => {
      await held.hold(1);
      await held.hold(2);
      const next = open();
      await next.open(new Set([1]));
      await next.tidy();
      assert.deepEqual(await readdir(names), ["1"]);
      assert.equal(await next.isRight(1), true);
      assert.deepEqual(errors, []);
      const third = open();
      await third.open(new Set([1]));
      right.clear();
      await third.tidy();
      assert.equal(errors.length, 2, "it was changed while no daemon ran");
      await third.release(1);
      assert.equal(await linksOf(data), 1);
      await rm(names, { recursive: true });
      await open().open(new Set());
      assert.equal(existsSync(names), false);
    });
  });
});
