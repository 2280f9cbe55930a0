import assert from "node:assert/strict";
import { mkdir, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, it } from "node:test";
import { delay, sha256, silentLogger, silentMetrics } from "@soci-ts/core";
import { sealImage } from "../metadata-images.ts";
import { temporary } from "../testing/temporary.ts";
import { DiskSlots } from "./disk-slots.ts";
import { type NodePaths, nodePaths } from "./node-paths.ts";
import { placeNodeSlot, readSlotStats, slotDirectory } from "./slot-files.ts";

const BYTES = Buffer.from("the bytes of a layer");
const IMAGE = Buffer.from("a metadata image");

/** Slot 5 is there, its bytes in a plain file. */
async function benched(
  test: (open: (idleMs?: number) => DiskSlots, paths: NodePaths) => Promise<void>,
): Promise<void> {
  await using scratch = await temporary();
  const paths = nodePaths(scratch.path);
  const incoming = join(scratch.path, "incoming");
  for (const path of [paths.slots, incoming]) await mkdir(path);
  await writeFile(join(incoming, "bytes"), BYTES);
  const imagePath = join(scratch.path, "image");
  await writeFile(imagePath, sealImage(IMAGE));
  const data = { kind: "file", path: "bytes" } as const;
  const record = { layerDigest: sha256(BYTES), data, imagePath, deviceSlots: [5] };
  await placeNodeSlot(incoming, slotDirectory(paths.slots, 5), { record, source: null });
  const open = (idleMs?: number): DiskSlots =>
    new DiskSlots({
      paths,
      openBlobs: async () => assert.fail("nothing is to be fetched"),
      logger: silentLogger,
      metrics: silentMetrics,
      readTimeoutMs: 1000,
      idleMs,
    });
  await test(open, paths);
}

describe("DiskSlots", () => {
  it("opens a slot once, as its files say", async () => {
    await benched(async (open) => {
      await using slots = open();
      const [first, second] = await Promise.all([slots.get(5), slots.get(5)]);
      assert.ok(first !== undefined && first === second);
      assert.equal(await slots.get(5), first);
      assert.deepEqual(Buffer.from(first.image), IMAGE);
      assert.deepEqual(first.deviceSlots, [5]);
      assert.deepEqual(Buffer.from(await first.data.readAt(4, 5)), BYTES.subarray(4, 9));
      assert.deepEqual([...slots.stats().keys()], [5]);
    });
  });

  it("tells a slot that is not there from one that is damaged, and finds it when it comes", async () => {
    await benched(async (open, paths) => {
      await using slots = open();
      assert.equal(await slots.get(6), undefined);
      const imagePath = join(paths.root, "image");
      await rm(imagePath);
      await assert.rejects(async () => await slots.get(5), { code: "data_loss" });
      await writeFile(imagePath, "not sealed");
      await assert.rejects(async () => await slots.get(5), { code: "data_loss" });
      await writeFile(imagePath, sealImage(IMAGE));
      assert.ok((await slots.get(5)) !== undefined);
    });
  });

  it("closes what is idle, and nothing that was just asked for", async () => {
    await benched(async (open) => {
      await using slots = open(50);
      const layer = await slots.get(5);
      await slots.tidy();
      assert.equal(await slots.get(5), layer);
      await delay(80);
      await slots.tidy();
      assert.equal(slots.stats().size, 0);
      await assert.rejects(async () => await layer?.data.readAt(0, 1), "it is closed");
      const again = await slots.get(5);
      assert.notEqual(again, layer);
      assert.equal((await again?.data.readAt(0, 3))?.length, 3);
    });
  });

  it("closes a slot that is being opened", async () => {
    await benched(async (open) => {
      await using slots = open();
      const opening = slots.get(5);
      await slots.close(5);
      await opening;
      assert.equal(slots.stats().size, 0);
      await slots.close(5);
    });
  });

  it("keeps figures and the last failure across processes, and writes only what has changed", async () => {
    await benched(async (open, paths) => {
      const directory = slotDirectory(paths.slots, 5);
      {
        await using slots = open();
        const layer = await slots.get(5);
        await assert.rejects(async () => await layer?.data.readAt(15, 100));
        await slots.tidy();
        const { ino } = await stat(join(directory, "stats.json"));
        await slots.tidy();
        assert.equal((await stat(join(directory, "stats.json"))).ino, ino);
      }
      const written = await readSlotStats(directory);
      assert.equal(written.sizeBytes, BYTES.length);
      assert.equal(written.cachedBytes, BYTES.length);
      assert.ok(written.lastError !== undefined && written.lastError.atMs > 0);
      await using slots = open();
      await slots.get(5);
      assert.deepEqual(slots.stats().get(5)?.lastError, written.lastError);
      assert.deepEqual([...slots.stats().values()], [written]);
    });
  });
});
