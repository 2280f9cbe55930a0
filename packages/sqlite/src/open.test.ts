import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { isBuiltin } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { AppError, type ErrorCode } from "@soci-ts/core";
import { loadBetterSqlite3 } from "./better-sqlite3.ts";
import type { Database } from "./database.ts";
import type { Driver } from "./driver.ts";
import { sqliteError } from "./errors.ts";
import { loadDriver } from "./load.ts";
import { loadNodeSqlite } from "./node-sqlite.ts";
import { openDatabase, openDatabaseReadOnly, openDatabaseWith } from "./open.ts";

const directory = mkdtempSync(join(tmpdir(), "soci-sqlite-"));
after(() => rmSync(directory, { recursive: true, force: true }));

let files = 0;
const freshPath = (): string => join(directory, `db-${++files}.sqlite`);
const hasCode = (code: ErrorCode) => (error: unknown) =>
  error instanceof AppError && error.code === code;

const V1 = "CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, data BLOB) STRICT";
const V2 =
  "CREATE TABLE u (t INTEGER NOT NULL REFERENCES t (id)) STRICT; CREATE INDEX ut ON u (t);";

const HAS_NODE_SQLITE = isBuiltin("node:sqlite");
const drivers: [string, () => Driver][] = [
  ["better-sqlite3", loadBetterSqlite3],
  // Not there in Node 20: the test after these says what happens then.
  ...(HAS_NODE_SQLITE ? [["node:sqlite", loadNodeSqlite] as [string, () => Driver]] : []),
];

if (!HAS_NODE_SQLITE) {
  it("loadNodeSqlite() says that this Node has no node:sqlite", () => {
    assert.throws(loadNodeSqlite, /has no node:sqlite/);
  });
}

for (const [name, load] of drivers) {
  describe(`openDatabase() on ${name}`, () => {
    const driver = load();
    const open = (path: string, migrations: string[] = [V1]): Database =>
      openDatabaseWith(driver, path, { migrations });

    it("keeps rows over a close and gives plain rows", () => {
      const path = freshPath();
      const first = open(path);
      const bytes = new Uint8Array([0, 255, 7]);
      assert.equal(
        first.prepare("INSERT INTO t (name, data) VALUES (?, ?)").run("a", bytes).changes,
        1,
      );
      first.close();
      first.close();
      using second = open(path);
      assert.deepEqual(second.prepare("SELECT id, name FROM t").get(), { id: 1, name: "a" });
      const row = second.prepare<{ data: Uint8Array }>("SELECT data FROM t").all()[0];
      assert.deepEqual(Uint8Array.from(row!.data), bytes);
      assert.equal(second.prepare("SELECT 1 FROM t WHERE name = ?").get("none"), undefined);
    });

    it("applies only the missing migrations", () => {
      const path = freshPath();
      open(path).close();
      using database = open(path, [V1, V2]);
      assert.deepEqual(database.prepare("PRAGMA user_version").get(), { user_version: 2 });
      assert.deepEqual(database.prepare("PRAGMA journal_mode").get(), { journal_mode: "wal" });
      assert.deepEqual(database.prepare("PRAGMA synchronous").get(), { synchronous: 2 });
    });

    it("leaves nothing of a migration that fails", () => {
      const path = freshPath();
      assert.throws(
        () => open(path, [V1, "CREATE TABLE w (x) STRICT; NONSENSE"]),
        hasCode("internal"),
      );
      using database = open(path, []);
      assert.deepEqual(database.prepare("SELECT name FROM sqlite_schema").all(), []);
    });

    it("refuses a newer version and leaves every file as it was", async () => {
      const path = freshPath();
      open(path, [V1, V2]).close();
      // A writer that was killed: what it committed is still in the -wal file.
      await assert.rejects(promisify(execFile)(process.execPath, ["-e", KILLED_WRITER, path]));
      const before = snapshot(path);
      assert.ok(before.get(`${path}-wal`)!.length > 0);
      assert.throws(() => open(path, [V1]), hasCode("failed_precondition"));
      const untouched = snapshot(path);
      untouched.delete(`${path}-shm`);
      before.delete(`${path}-shm`);
      assert.deepEqual(untouched, before);
    });

    it("refuses a file that is not a database, a damaged one, and a directory that is not there", () => {
      const path = freshPath();
      writeFileSync(path, "this is not a database file, whatever its name says".repeat(100));
      assert.throws(() => open(path), hasCode("data_loss"));
      assert.throws(() => open(join(directory, "absent", "x")), hasCode("not_found"));
    });

    it("checks the structure when the last user did not close", () => {
      const path = freshPath();
      const database = open(path);
      const insert = database.prepare("INSERT INTO t (name) VALUES (?)");
      database.transaction(() => {
        for (let i = 0; i < 2000; i++) insert.run(`row ${i} ${"x".repeat(50)}`);
      });
      database.verifyIntegrity();
      database.close();
      const bytes = readFileSync(path);
      bytes.fill(0xee, 4096 * 3, 4096 * 6);
      writeFileSync(path, bytes);
      using damaged = open(path);
      assert.throws(() => damaged.verifyIntegrity(), hasCode("data_loss"));
      writeFileSync(`${path}-wal`, new Uint8Array(32));
      assert.throws(() => open(path), hasCode("data_loss"));
    });

    it("transaction() commits, rolls back, refuses promises", () => {
      using database = open(":memory:");
      const insert = database.prepare("INSERT INTO t (name) VALUES (?)");
      const count = database.prepare("SELECT count(*) AS n FROM t");
      assert.equal(
        database.transaction(() => insert.run("a").changes),
        1,
      );
      const boom = new Error("boom");
      const failing = (): void =>
        database.transaction(() => {
          insert.run("b");
          throw boom;
        });
      assert.throws(failing, boom);
      assert.throws(() => database.transaction(async () => insert.run("c")), hasCode("internal"));
      assert.deepEqual(count.get(), { n: 1 });
    });

    it("names duplicates and broken references", () => {
      using database = open(":memory:", [V1, V2]);
      const insert = database.prepare("INSERT INTO t (name) VALUES (?)");
      insert.run("a");
      assert.throws(() => insert.run("a"), hasCode("already_exists"));
      assert.throws(
        () => database.prepare("INSERT INTO u VALUES (9)").run(),
        hasCode("failed_precondition"),
      );
      assert.throws(() => database.prepare("SELEKT"), hasCode("internal"));
    });
  });
}

const KILLED_WRITER = `
  let db;
  try {
    db = new (require(${JSON.stringify(fileURLToPath(import.meta.resolve("better-sqlite3")))}))(process.argv[1]);
  } catch {
    db = new (require("node:sqlite").DatabaseSync)(process.argv[1]);
  }
  db.exec("INSERT INTO t (name) VALUES ('late')");
  process.kill(process.pid, "SIGKILL");
`;

const CHILD = fileURLToPath(new URL("./testing/open-child.js", import.meta.url));

function runChild(path: string, ...rest: string[]): Promise<unknown> {
  return promisify(execFile)(process.execPath, [CHILD, path, ...rest]);
}

function snapshot(path: string): Map<string, Buffer> {
  const names = readdirSync(directory).map((name) => join(directory, name));
  return new Map(
    names.filter((name) => name.startsWith(path)).map((name) => [name, readFileSync(name)]),
  );
}

describe("openDatabase()", () => {
  it("lets several processes create and write one file at once", async () => {
    const path = freshPath();
    await Promise.all(Array.from({ length: 4 }, () => runChild(path, "25")));
    using database = openDatabase(path, { migrations: ["SELECT 1"] });
    assert.deepEqual(database.prepare("SELECT count(*) AS n FROM t").get(), { n: 100 });
  });

  it("has every commit of a process that was killed", async () => {
    const path = freshPath();
    await assert.rejects(runChild(path, "30", "die"));
    using database = openDatabase(path, { migrations: ["SELECT 1"] });
    assert.deepEqual(database.prepare("SELECT count(*) AS n FROM t").get(), { n: 30 });
  });
});

describe("loadDriver()", () => {
  it("takes the first driver that loads", () => {
    const driver: Driver = { name: "fake", connect: () => assert.fail() };
    const broken = (): Driver => {
      throw new Error("not built\nfor this Node");
    };
    assert.equal(loadDriver([broken, () => driver]), driver);
  });

  it("says what to install when none loads", () => {
    const broken = (): Driver => {
      throw new Error("not built\nfor this Node");
    };
    assert.throws(
      () => loadDriver([broken]),
      (error: unknown) =>
        error instanceof AppError &&
        error.code === "unimplemented" &&
        /npm rebuild better-sqlite3.*Node 22.*Tried: not built$/.test(error.message),
    );
  });
});

describe("openDatabaseReadOnly()", () => {
  it("reads while another connection writes, refuses to write, and wants exactly its version", () => {
    const path = freshPath();
    assert.throws(() => openDatabaseReadOnly(path, 1), hasCode("not_found"));
    using writer = openDatabase(path, { migrations: [V1] });
    using reader = openDatabaseReadOnly(path, 1);
    writer.prepare("INSERT INTO t (name) VALUES ('a')").run();
    assert.deepEqual(reader.prepare("SELECT count(*) AS n FROM t").get(), { n: 1 });
    assert.throws(() => reader.prepare("DELETE FROM t").run(), hasCode("permission_denied"));
    for (const version of [0, 2]) {
      assert.throws(() => openDatabaseReadOnly(path, version), hasCode("failed_precondition"));
    }
  });
});

describe("sqliteError()", () => {
  it("tells a full disk from a damaged one", () => {
    const codeFor = (code: string, errcode?: number) =>
      sqliteError("x", Object.assign(new Error("disk I/O error"), { code, errcode })).code;
    assert.equal(codeFor("SQLITE_FULL"), "resource_exhausted");
    assert.equal(codeFor("SQLITE_IOERR_SHMSIZE"), "resource_exhausted");
    assert.equal(codeFor("ERR_SQLITE_ERROR", 4874), "resource_exhausted");
    assert.equal(codeFor("SQLITE_IOERR_READ"), "data_loss");
    assert.equal(codeFor("ERR_SQLITE_ERROR", 266), "data_loss");
  });
});
