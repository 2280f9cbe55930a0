import assert from "node:assert/strict";
import { mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { temporary } from "../testing/temporary.ts";
import { Metastore } from "./metastore.ts";
import { openMetastore } from "./metastore-schema.ts";

/** A root that has had a snapshot, with a file of a container. */
function writeRoot(root: string): void {
  const database = openMetastore(root);
  new Metastore(database).insert({ name: "container", kind: "active", parent: "", labels: {} });
  database.close();
  mkdirSync(join(root, "snapshots/1/fs"), { recursive: true });
  writeFileSync(join(root, "snapshots/1/fs/file"), "of the container");
}

describe("openMetastore()", () => {
  for (const [how, bytes] of [
    ["damaged", Buffer.alloc(8192, 1)],
    ["lost", Buffer.alloc(0)],
  ] as const) {
    it(`keeps containers' files when the records of snapshots are ${how}`, async () => {
      await using directory = await temporary();
      const root = directory.path;
      writeRoot(root);
      writeFileSync(join(root, "metadata.db"), bytes);
      const database = openMetastore(root);
      assert.equal(new Metastore(database).find("container"), undefined);
      database.close();
      const [aside = ""] = readdirSync(root).filter((it) => it.startsWith("snapshots.damaged-"));
      assert.deepEqual(readdirSync(join(root, aside, "1/fs")), ["file"]);
      assert.equal(readdirSync(root).includes("snapshots"), false);
    });
  }

  it("leaves the directories of snapshots that it knows, or has known, alone", async () => {
    await using directory = await temporary();
    const root = directory.path;
    writeRoot(root);
    const database = openMetastore(root);
    new Metastore(database).remove("container");
    database.close();
    openMetastore(root).close();
    assert.deepEqual(readdirSync(join(root, "snapshots")), ["1"]);
  });
});
