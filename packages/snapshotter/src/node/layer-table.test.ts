import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { sha256 } from "@soci-ts/core";
import { openDatabase } from "@soci-ts/sqlite";
import type { LayerStory } from "../contract/types.ts";
import { MAX_SLOTS } from "../node-ids.ts";
import { temporary } from "../testing/temporary.ts";
import { LayerTable, type LayerUse } from "./layer-table.ts";

const BLOB = sha256(Buffer.from("layer"));

const USE: LayerUse = {
  repository: "example.org/app",
  manifestDigest: sha256(Buffer.from("manifest")),
  chainId: sha256(Buffer.from("chain")),
  policy: "any",
};

const STORY: LayerStory = {
  imageReference: "example.org/app:v1",
  manifestDigest: USE.manifestDigest,
  layerDigest: BLOB,
  steps: [{ tried: "index", worked: true, why: "there was one" }],
};

/** Runs `test` with a table, and with how to close and open it again. */
async function tabled(test: (open: () => LayerTable, path: string) => void): Promise<void> {
  await using scratch = await temporary();
  const path = join(scratch.path, "layers.db");
  let table: LayerTable | undefined;
  const open = (): LayerTable => {
    table?.[Symbol.dispose]();
    table = new LayerTable(path);
    return table;
  };
  try {
    test(open, path);
  } finally {
    table?.[Symbol.dispose]();
  }
}

function added(table: LayerTable, identity: string, needs: readonly number[] = []): number {
  const layer = table.nextNumber();
  table.add(layer, identity, BLOB, needs);
  return layer;
}

describe("LayerTable", () => {
  it("never gives a number twice, also after removal and reopening", () =>
    tabled((open) => {
      const seen = new Set<number>();
      for (let turn = 0; turn < 4; turn += 1) {
        const table = open();
        const [kept, gone] = [added(table, `kept ${turn}`), table.nextNumber()];
        assert.equal(table.remove(gone), true);
        for (const layer of [kept, gone]) {
          assert.ok(layer > 0 && !seen.has(layer), `number ${layer}`);
          seen.add(layer);
        }
      }
      const table = open();
      for (const layer of table.all()) table.remove(layer);
      assert.ok(!seen.has(open().nextNumber()));
    }));

  it("ends before the numbers that FUSE has no room for", () =>
    tabled((open, path) => {
      open()[Symbol.dispose]();
      const database = openDatabase(path, { migrations: ["SELECT 1"] });
      database.prepare("INSERT INTO layer VALUES (?, 'last', '')").run(MAX_SLOTS - 2);
      database.close();
      const table = open();
      assert.equal(table.nextNumber(), MAX_SLOTS - 1);
      assert.throws(() => table.nextNumber(), { code: "resource_exhausted" });
    }));

  it("counts a layer only once it is added", () =>
    tabled((open) => {
      const table = open();
      const layer = table.nextNumber();
      assert.equal(table.isPlaced(layer), false);
      assert.equal(table.countOf(BLOB), 0);
      assert.deepEqual(table.all(), [layer]);
      table.add(layer, "identity", BLOB, [layer]);
      assert.equal(table.isPlaced(layer), true);
      assert.equal(table.find("identity"), layer);
      assert.equal(table.find("other"), undefined);
      assert.equal(table.countOf(BLOB), 1);
      assert.equal(table.isPlaced(layer + 1), false);
    }));

  it("keeps a layer while another one's devices need it, the newest being named first", () =>
    tabled((open) => {
      const table = open();
      const bottom = added(table, "bottom");
      const top = added(table, "top", [bottom, bottom]);
      assert.deepEqual(table.all(), [top, bottom]);
      assert.equal(table.remove(bottom), false);
      assert.equal(table.isPlaced(bottom), true);
      assert.equal(table.remove(top), true);
      assert.equal(table.remove(bottom), true);
      assert.equal(table.remove(bottom), true, "one that is gone");
      assert.deepEqual(table.all(), []);
    }));

  it("can be told of a layer again: its files were made anew", () =>
    tabled((open) => {
      const table = open();
      const [bottom, other] = [added(table, "bottom"), added(table, "other")];
      const layer = added(table, "again", [bottom]);
      table.add(layer, "again", BLOB, [bottom, other]);
      assert.equal(table.find("again"), layer);
      assert.equal(table.remove(other), false);
    }));

  it("finds a layer by what it was made for, and by all of it", () =>
    tabled((open) => {
      const layer = added(open(), "identity");
      open().note(USE, { layer, story: STORY });
      const table = open();
      assert.deepEqual(table.findUse(USE), { layer, story: STORY });
      const other = sha256(Buffer.from("other"));
      for (const changed of [
        { repository: "example.org/other" },
        { manifestDigest: other },
        { chainId: other },
        { policy: "bound" },
      ]) {
        assert.equal(table.findUse({ ...USE, ...changed }), undefined, JSON.stringify(changed));
      }
    }));

  it("goes by the last thing that a layer was noted for, and forgets it with the layer", () =>
    tabled((open) => {
      const table = open();
      const [first, second] = [added(table, "first"), added(table, "second")];
      table.note(USE, { layer: first, story: STORY });
      table.note(USE, { layer: second, story: STORY });
      assert.equal(table.findUse(USE)?.layer, second);
      table.remove(second);
      assert.equal(table.findUse(USE), undefined);
    }));

  it("forgets uses that nobody asked for in 30 days, and lets those of earlier versions begin to age", () =>
    tabled((open, path) => {
      const table = open();
      const layer = added(table, "one");
      const other: LayerUse = { ...USE, repository: "example.org/other" };
      table.note(USE, { layer, story: STORY });
      assert.deepEqual(table.findUse(USE), { layer, story: STORY }, "the time is not told");
      {
        using database = openDatabase(path, { migrations: ["SELECT 1"] });
        database
          .prepare("INSERT INTO use VALUES (?, ?, ?, ?, ?, ?)")
          .run(
            other.repository,
            other.manifestDigest,
            other.chainId,
            "any",
            layer,
            JSON.stringify(STORY),
          );
      }
      assert.deepEqual([...table.digests()], [BLOB]);
      const day = 86_400_000;
      assert.equal(table.forgetOldUses(Date.now() + day), 0);
      assert.equal(table.forgetOldUses(Date.now() + 29 * day), 0);
      assert.equal(table.forgetOldUses(Date.now() + 30.5 * day), 1);
      assert.equal(table.findUse(USE), undefined);
      // It was first looked at after a day.
      assert.deepEqual(table.findUse(other), { layer, story: STORY });
      assert.equal(table.forgetOldUses(Date.now() + 29 * day), 0, "it was asked for");
      assert.equal(table.forgetOldUses(Date.now() + 32 * day), 1);
    }));

  it("leaves out numbers that it is told of, and goes on without rows if it was damaged", () =>
    tabled((open, path) => {
      let table = open();
      table.skipNumbers(7);
      assert.equal(table.nextNumber(), 8);
      table.skipNumbers(3);
      assert.equal(table.nextNumber(), 9);
      table[Symbol.dispose]();
      writeFileSync(path, Buffer.alloc(8192, 1));
      table = open();
      assert.deepEqual(table.all(), []);
      table.skipNumbers(9);
      assert.equal(table.nextNumber(), 10);
    }));

  it("tells what a layer was made for", () =>
    tabled((open) => {
      const table = open();
      const layer = added(table, "identity");
      assert.deepEqual(table.usesOf(layer), []);
      table.note(USE, { layer, story: STORY });
      assert.deepEqual(table.usesOf(layer), [{ chainId: USE.chainId, story: STORY }]);
    }));
});
