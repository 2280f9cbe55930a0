import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import { openDatabase } from "./open.ts";
import { openOrReplaceDatabase } from "./replace.ts";
import { databaseVersion } from "./version.ts";

const MIGRATIONS: readonly string[] = ["CREATE TABLE note (text TEXT NOT NULL) STRICT"];

/** Runs `test` with the path of a database of some pages, closed. */
function withDatabase(test: (path: string, directory: string) => void): void {
  const directory = mkdtempSync(join(tmpdir(), "soci-sqlite-"));
  try {
    const path = join(directory, "notes.db");
    const database = openDatabase(path, { migrations: MIGRATIONS });
    const insert = database.prepare("INSERT INTO note VALUES (?)");
    for (let count = 0; count < 200; count += 1) insert.run("text ".repeat(100));
    database.close();
    test(path, directory);
  } finally {
    rmSync(directory, { recursive: true });
  }
}

function count(path: string): unknown {
  const database = openOrReplaceDatabase(path, { migrations: MIGRATIONS });
  const row = database.prepare<{ n: number }>("SELECT count(*) AS n FROM note").get();
  database.close();
  return row?.n;
}

describe("openOrReplaceDatabase()", () => {
  it("opens what is intact, and sets aside what is not, wherever it is damaged", () =>
    withDatabase((path, directory) => {
      assert.equal(count(path), 200);
      const intact = readFileSync(path);
      for (const at of [0, 18, 4096, 20_000, intact.length - 4096]) {
        const damaged = Buffer.from(intact).fill(0xa5, at, at + 4096);
        writeFileSync(path, damaged);
        assert.equal(count(path), 0, `damaged at ${at}`);
        const [aside] = readdirSync(directory).filter((name) => name.includes(".damaged-"));
        assert.ok(aside !== undefined && readFileSync(join(directory, aside)).equals(damaged));
        rmSync(join(directory, aside));
      }
      writeFileSync(path, intact.subarray(0, 9000));
      assert.equal(count(path), 0, "truncated");
    }));

  it("leaves what a newer version wrote alone", () =>
    withDatabase((path, directory) => {
      const migrations = [...MIGRATIONS, "CREATE TABLE more (x)"];
      openDatabase(path, { migrations }).close();
      assert.throws(() => count(path), { code: "failed_precondition" });
      assert.deepEqual(readdirSync(directory), ["notes.db"]);
    }));
});

describe("databaseVersion()", () => {
  it("tells the number of migrations from a file's header, and nothing of what is no database", () =>
    withDatabase((path, directory) => {
      assert.equal(databaseVersion(path), 1);
      assert.deepEqual(readdirSync(directory), ["notes.db"]);
      assert.equal(databaseVersion(join(directory, "none")), undefined);
      for (const bytes of [Buffer.alloc(0), Buffer.alloc(99, 1), Buffer.alloc(4096, 1)]) {
        writeFileSync(path, bytes);
        assert.equal(databaseVersion(path), undefined);
      }
    }));
});
