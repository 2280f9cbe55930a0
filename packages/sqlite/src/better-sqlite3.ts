import { createRequire } from "node:module";
import type BetterSqlite3 from "better-sqlite3";
import type { Connection, Driver, SqlValue } from "./driver.ts";

/**
 * The driver on the `better-sqlite3` package.
 * @throws Error if the package is not installed, or its addon was built for another Node: the addon is loaded by the
 * first database opened, so one is opened in memory here.
 */
export function loadBetterSqlite3(): Driver {
  const Database = createRequire(import.meta.url)("better-sqlite3") as typeof BetterSqlite3;
  new Database(":memory:").close();
  return {
    name: "better-sqlite3",
    connect(path, { readOnly, busyTimeoutMs }): Connection {
      const database = new Database(path, {
        readonly: readOnly,
        fileMustExist: readOnly,
        timeout: busyTimeoutMs,
      });
      return {
        exec: (sql) => database.exec(sql),
        prepare: (sql) => database.prepare<SqlValue[]>(sql),
        close: () => database.close(),
      };
    },
  };
}
