import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { silentLogger } from "@soci-ts/core";
import { parseFilters } from "./filter.ts";
import { SnapshotLists } from "./list.ts";
import { Metastore } from "./metastore.ts";
import { openMetastore } from "./metastore-schema.ts";

test("SnapshotLists reads what was there when the list was begun, however long it takes", async () => {
  const root = mkdtempSync(join(tmpdir(), "soci-list-"));
  try {
    using database = openMetastore(root);
    const metastore = new Metastore(database);
    const names = Array.from({ length: 600 }, (_, at) => `s${at}`);
    const add = (name: string) =>
      metastore.insert({ name, kind: "committed", parent: "", labels: { n: name } });
    database.prepare("PRAGMA synchronous = OFF").run();
    for (const name of names) add(name);
    using lists = new SnapshotLists(root, silentLogger);
    const read = async (...filters: readonly string[]): Promise<readonly string[]> => {
      const found: string[] = [];
      for await (const { name } of lists.list(parseFilters(filters))) found.push(name);
      return found;
    };

    const found: string[] = [];
    for await (const info of lists.list(parseFilters([]))) {
      if (found.length === 0) {
        for (const name of ["s0", "s300", "s599"]) metastore.remove(name);
        metastore.update("s400", { n: "changed" }, { kind: "all" });
        add("new");
        assert.equal((await read()).length, 598);
        assert.deepEqual(await read("labels.n==changed"), ["s400"]);
      }
      assert.equal(info.labels["n"], info.name);
      found.push(info.name);
    }
    assert.deepEqual(found, names);
    for await (const { name } of lists.list(parseFilters([]))) {
      assert.equal(name, "s1");
      break;
    }
    assert.equal((await read()).at(-1), "new");
  } finally {
    rmSync(root, { recursive: true });
  }
});
