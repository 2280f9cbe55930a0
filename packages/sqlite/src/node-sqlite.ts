import process from "node:process";
import type { Connection, Driver, SqlValue } from "./driver.ts";

/** The part of `node:sqlite` that is used; the type definitions of Node 20 do not have the module. */
interface NodeSqlite {
  readonly DatabaseSync: new (path: string, options: { readOnly: boolean }) => Connection;
}

/**
 * The driver on `node:sqlite`, which Node has from 22.13 on.
 * @throws Error on a Node without it.
 */
export function loadNodeSqlite(): Driver {
  const module = process.getBuiltinModule("node:sqlite") as unknown as NodeSqlite | undefined;
  if (module === undefined) throw new Error(`Node ${process.versions.node} has no node:sqlite`);
  const { DatabaseSync } = module;
  return {
    name: "node:sqlite",
    connect(path, { readOnly, busyTimeoutMs }): Connection {
      const database = new DatabaseSync(path, { readOnly });
      database.exec(`PRAGMA busy_timeout = ${busyTimeoutMs}`);
      return {
        exec: (sql) => database.exec(sql),
        close: () => database.close(),
        prepare(sql) {
          const statement = database.prepare(sql);
          return {
            get: (...parameters) => plainRow(statement.get(...parameters)),
            all: (...parameters) => statement.all(...parameters).map(plainRow),
            run: (...parameters) => statement.run(...parameters),
          };
        },
      };
    },
  };
}

/** Rows come without a prototype; better-sqlite3's have one, and callers should see no difference. */
function plainRow(row: unknown): unknown {
  return row === undefined ? undefined : { ...(row as Record<string, SqlValue>) };
}
