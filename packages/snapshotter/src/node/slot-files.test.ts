import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { mkdir, readdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, it } from "node:test";
import { sha256 } from "@soci-ts/core";
import type { SlotRecord } from "../mount-record.ts";
import { temporary } from "../testing/temporary.ts";
import {
  addSlotSource,
  checkNodeSlot,
  NO_STATS,
  placeNodeSlot,
  readNodeSlot,
  readSlotStats,
  slotDirectory,
  writeSlotStats,
} from "./slot-files.ts";

const DIGEST = sha256(Buffer.from("layer"));

function recordIn(directory: string): SlotRecord {
  return {
    layerDigest: DIGEST,
    data: {
      kind: "lazy",
      mediaType: "application/vnd.oci.image.layer.v1.tar+gzip",
      sizeBytes: 7,
      indexPath: "index",
      indexDigest: DIGEST,
      headersPath: "headers",
      headersDigest: DIGEST,
    },
    imagePath: join(directory, "image"),
    deviceSlots: [3],
  };
}

/** A slot in place, in a directory of its own. */
async function placed(directory: string): Promise<string> {
  const incoming = join(directory, "incoming", "0");
  await mkdir(incoming, { recursive: true });
  await writeFile(join(directory, "image"), "image");
  for (const name of ["index", "headers"]) await writeFile(join(incoming, name), name);
  const slot = slotDirectory(directory, 3);
  await placeNodeSlot(incoming, slot, { record: recordIn(directory), source: { image: "a" } });
  assert.equal(existsSync(incoming), false);
  return slot;
}

describe("placeNodeSlot()", () => {
  it("makes a directory that can be read, and replaces one that is there", async () => {
    await using scratch = await temporary();
    const slot = await placed(scratch.path);
    const { record, sources } = await readNodeSlot(slot);
    assert.deepEqual(record, recordIn(scratch.path));
    assert.deepEqual(sources, [{ image: "a" }]);
    assert.deepEqual((await readdir(slot)).sort(), ["headers", "index", "slot.json"]);
    await writeFile(join(slot, "rest"), "");
    await placed(scratch.path);
    assert.equal(existsSync(join(slot, "rest")), false);
  });
});

describe("readNodeSlot()", () => {
  it("tells absence from damage", async () => {
    await using scratch = await temporary();
    await assert.rejects(readNodeSlot(slotDirectory(scratch.path, 9)), { code: "not_found" });
    const slot = await placed(scratch.path);
    const good = await readNodeSlot(slot);
    const damaged: readonly (readonly [string, string])[] = [
      ["no JSON", "{"],
      ["another version", JSON.stringify({ ...good, formatVersion: 0 })],
      ["no object", "null"],
      ["no record", JSON.stringify({ ...good, record: null })],
      ["no digest", JSON.stringify({ ...good, record: { ...good.record, layerDigest: "x" } })],
      ["no sources", JSON.stringify({ ...good, sources: "a" })],
    ];
    for (const [name, text] of damaged) {
      await writeFile(join(slot, "slot.json"), text);
      await assert.rejects(readNodeSlot(slot), { code: "data_loss" }, name);
    }
    await writeFile(join(slot, "slot.json"), JSON.stringify({ ...good, formatVersion: 2 }));
    await assert.rejects(readNodeSlot(slot), { code: "failed_precondition" }, "a newer version");
  });
});

describe("checkNodeSlot()", () => {
  it("misses each file that the record names", async () => {
    await using scratch = await temporary();
    for (const name of ["3/index", "3/headers", "3/slot.json", "image"]) {
      await checkNodeSlot(await placed(scratch.path));
      await rm(join(scratch.path, name));
      await assert.rejects(checkNodeSlot(join(scratch.path, "3")), { code: "not_found" }, name);
    }
  });
});

describe("addSlotSource()", () => {
  it("puts the newest first, once, and keeps eight", async () => {
    await using scratch = await temporary();
    const slot = await placed(scratch.path);
    await addSlotSource(slot, { image: "b" });
    await addSlotSource(slot, { image: "a" });
    assert.deepEqual((await readNodeSlot(slot)).sources, [{ image: "a" }, { image: "b" }]);
    for (let at = 0; at < 20; at += 1) await addSlotSource(slot, at);
    assert.deepEqual((await readNodeSlot(slot)).sources, [19, 18, 17, 16, 15, 14, 13, 12]);
    assert.deepEqual((await readNodeSlot(slot)).record, recordIn(scratch.path));
  });
});

describe("readSlotStats()", () => {
  it("gives what was written, and zeros for nothing, damage and a slot that is gone", async () => {
    await using scratch = await temporary();
    const slot = await placed(scratch.path);
    assert.deepEqual(await readSlotStats(slot), NO_STATS);
    const stats = { ...NO_STATS, requests: 3, lastError: { message: "no", atMs: 5 } };
    await writeSlotStats(slot, stats);
    assert.deepEqual(await readSlotStats(slot), stats);
    await writeFile(join(slot, "stats.json"), "{");
    assert.deepEqual(await readSlotStats(slot), NO_STATS);
    await rm(slot, { recursive: true });
    await writeSlotStats(slot, stats);
    assert.equal(existsSync(slot), false);
  });
});
