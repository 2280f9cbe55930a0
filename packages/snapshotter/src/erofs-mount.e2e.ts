import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { silentLogger } from "@soci-ts/core";
import { findMount, listLoopDevices, probeKernel, unmount } from "@soci-ts/linux";
import { type ErofsLayerMount, mountErofsLayer } from "./erofs-mount.ts";
import { TINY_CONTENTS, type TinyLayer, writeTinyLayer } from "./testing/tiny-layer.ts";

const { sysAdmin, erofs, erofsFileBacked, erofsOnLoop } = probeKernel();
const missing = [sysAdmin, erofs].find(({ state }) => state !== "ok");
const skip = missing === undefined ? false : missing.found;

describe("mountErofsLayer()", { skip }, () => {
  let directory = "";
  let target = "";
  let layer: TinyLayer;
  before(async () => {
    directory = await mkdtemp("/run/soci-erofs-");
    target = join(directory, "mnt");
    await mkdir(target);
    layer = await writeTinyLayer(directory);
  });
  after(async () => {
    if (findMount(target) !== undefined) await unmount(target, { detach: true });
    await rm(directory, { recursive: true });
  });

  const loops = (): string[] =>
    listLoopDevices().flatMap(({ path, file }) => (file.startsWith(directory) ? [path] : []));

  const requestOf = (
    door: ErofsLayerMount["door"],
    changed: Partial<ErofsLayerMount> = {},
  ): ErofsLayerMount => ({
    ...{
      door,
      source: layer.source,
      devices: layer.devices,
      target,
      layerDigest: "sha256:abc",
      readAhead: "off",
    },
    ...changed,
  });

  for (const [door, loopCount, finding] of [
    ["erofs", 0, erofsFileBacked],
    ["loop", 3, erofsOnLoop],
  ] as const) {
    const options = { skip: finding.state === "ok" ? false : finding.found };

    it(`shows files of several devices and leaves nothing (${door})`, options, async () => {
      await mountErofsLayer(requestOf(door), silentLogger);
      assert.equal(loops().length, loopCount);
      for (const [name, content] of Object.entries(TINY_CONTENTS)) {
        assert.equal(readFileSync(join(target, name), "utf8"), content);
      }
      await unmount(target);
      assert.deepEqual(loops(), []);
    });

    it(`names the layer that can't be mounted, and leaves nothing (${door})`, options, async () => {
      const damaged = join(directory, "damaged");
      await writeFile(damaged, Buffer.alloc(8192));
      const rejected = mountErofsLayer(requestOf(door, { source: damaged }), silentLogger);
      await assert.rejects(rejected, /Cannot mount layer sha256:abc: Cannot mount erofs/);
      const absent = requestOf(door, { devices: [join(directory, "no"), join(directory, "no")] });
      await assert.rejects(mountErofsLayer(absent, silentLogger), /layer sha256:abc/);
      assert.equal(findMount(target), undefined);
      assert.deepEqual(loops(), []);
    });
  }

  it("turns read-ahead off on each loop device, and only if told to", {
    skip: erofsOnLoop.state !== "ok",
  }, async () => {
    const readAheads = (): string[] =>
      loops().map((path) =>
        readFileSync(`/sys/block/${path.slice(5)}/queue/read_ahead_kb`, "utf8").trim(),
      );
    await mountErofsLayer(requestOf("loop"), silentLogger);
    assert.deepEqual(readAheads(), ["0", "0", "0"]);
    await unmount(target);
    await mountErofsLayer(requestOf("loop", { readAhead: "kernel" }), silentLogger);
    assert.ok(readAheads().every((sizeKb) => Number(sizeKb) > 0));
    await unmount(target);
  });
});
