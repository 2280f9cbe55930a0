import assert from "node:assert/strict";
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { openDatabase } from "@soci-ts/sqlite";
import { openRoot } from "./open-root.ts";
import { refuseNewerRoot } from "./root-format.ts";
import { temporary } from "./testing/temporary.ts";

/** Every file below a directory, with its bytes. */
function filesOf(directory: string): ReadonlyMap<string, string> {
  const entries = readdirSync(directory, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile());
  const paths = files.map(({ parentPath, name }) => join(parentPath, name)).sort();
  return new Map(paths.map((path) => [path, readFileSync(path, "latin1")]));
}

/** A database that has seen this many migrations. */
function writeDatabase(path: string, version: number): void {
  const migrations = Array.from({ length: version }, (_, at) => `CREATE TABLE t${at} (x)`);
  openDatabase(path, { migrations }).close();
}

const NEWER: Readonly<Record<string, (root: string) => void>> = {
  "the root": (root) => writeFileSync(join(root, "format.json"), '{"format":2,"new":true}'),
  "a root whose format is no number": (root) =>
    writeFileSync(join(root, "format.json"), '{"format":"2b"}'),
  "the metastore": (root) => writeDatabase(join(root, "metadata.db"), 9),
  "the table of layers": (root) => writeDatabase(join(root, "layers.db"), 9),
  "the store": (root) => {
    mkdirSync(join(root, "store"), { mode: 0o700 });
    writeFileSync(join(root, "store/format"), "2\n");
  },
  "the store's catalogue": (root) => {
    mkdirSync(join(root, "store"), { mode: 0o700 });
    writeFileSync(join(root, "store/format"), "1\n");
    writeDatabase(join(root, "store/catalogue.sqlite"), 9);
  },
};

describe("openRoot()", () => {
  for (const [what, write] of Object.entries(NEWER)) {
    it(`refuses what a newer version wrote, and changes nothing: ${what}`, async () => {
      await using directory = await temporary();
      write(directory.path);
      const before = filesOf(directory.path);
      await assert.rejects(openRoot(directory.path), {
        code: "failed_precondition",
        message: /(is|version) "?(2|9|2b)"?, want (at most )?1/,
      });
      assert.deepEqual(filesOf(directory.path), before);
    });
  }

  it("notes the format of a root that has no note, or lost it, and leaves one that has it", async () => {
    await using directory = await temporary();
    const root = join(directory.path, "r");
    const path = join(root, "format.json");
    assert.equal(refuseNewerRoot(root), false);
    await openRoot(root);
    assert.deepEqual(JSON.parse(readFileSync(path, "utf8")), { format: 1 });
    for (const torn of ["", "\0\0\0\0", '{"form']) {
      writeFileSync(path, torn);
      await openRoot(root);
      assert.deepEqual(JSON.parse(readFileSync(path, "utf8")), { format: 1 });
    }
    writeFileSync(path, '{"format":1,"kept":true}');
    await openRoot(root);
    assert.equal(readFileSync(path, "utf8"), '{"format":1,"kept":true}');
  });
});
