import { AppError } from "@soci-ts/core";
import type { Connection, RawStatement, SqlValue } from "./driver.ts";
import { sqliteError } from "./errors.ts";

/** A result row by column name. */
export type Row = Record<string, SqlValue>;

/** A compiled statement. Parameters are positional, in order: plain `?`, never `?1`, which the drivers take for names. Every call blocks the thread until it is done. */
export interface Statement<R> {
  /** The first row, or undefined if there is none. */
  get(...parameters: readonly SqlValue[]): R | undefined;
  /** All rows, in memory: bound the query with LIMIT where a table can be long. */
  all(...parameters: readonly SqlValue[]): R[];
  /** Executes; `changes` is the number of rows inserted, updated or deleted. */
  run(...parameters: readonly SqlValue[]): { changes: number };
}

/** An open database. The opener closes it. All failures are AppErrors: a duplicate key is `already_exists`, a lock held too long `unavailable`. */
export interface Database extends Disposable {
  /**
   * Compiles one statement. The same text gives the same statement: compiling costs more than running, and what it takes is freed only when garbage is
   * collected, which knows nothing of its size. So texts are constants, and values parameters.
   * `R` is the caller's word for the row's type; STRICT tables make it true.
   */
  prepare<R = Row>(sql: string): Statement<R>;
  /**
   * Runs `work` at once in one write transaction (BEGIN IMMEDIATE): committed and on the disk when it returns, rolled
   * back when it throws. `work` is synchronous and does not nest.
   * @throws AppError `internal` if `work` returns a promise; else what `work` throws.
   */
  transaction<T>(work: () => T): T;
  /**
   * Reads the whole file and checks its structure.
   * @throws AppError `data_loss` naming the first fault.
   */
  verifyIntegrity(): void;
  /** Idempotent. */
  close(): void;
}

/** Makes a {@link Database} of a driver's connection; `path` is only for messages. */
export function createDatabase(connection: Connection, path: string): Database {
  let open = true;
  const compiled = new Map<string, Statement<unknown>>();
  const close = (): void => {
    if (!open) return;
    open = false;
    connection.close();
  };
  return {
    prepare: <R>(sql: string): Statement<R> => {
      const statement = compiled.get(sql) ?? createStatement(connection, sql);
      compiled.set(sql, statement);
      return statement as Statement<R>;
    },
    transaction: (work) => transact(connection, work),
    verifyIntegrity: () => verifyIntegrity(connection, path),
    close,
    [Symbol.dispose]: close,
  };
}

function createStatement(connection: Connection, sql: string): Statement<unknown> {
  const raw = guard(sql, () => connection.prepare(sql));
  const call = <T>(work: (statement: RawStatement) => T): T => guard(sql, () => work(raw));
  return {
    get: (...parameters) => call((statement) => statement.get(...parameters)),
    all: (...parameters) => call((statement) => statement.all(...parameters)),
    run: (...parameters) =>
      call((statement) => ({ changes: Number(statement.run(...parameters).changes) })),
  };
}

function guard<T>(sql: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw sqliteError(`run ${JSON.stringify(sql.trim().slice(0, 80))}`, error);
  }
}

/** Runs `work` inside BEGIN IMMEDIATE … COMMIT on a connection. */
export function transact<T>(connection: Connection, work: () => T): T {
  guard("BEGIN IMMEDIATE", () => connection.exec("BEGIN IMMEDIATE"));
  try {
    const result = work();
    if (result instanceof Promise) {
      throw new AppError("internal", "Cannot commit a transaction: its work is asynchronous");
    }
    guard("COMMIT", () => connection.exec("COMMIT"));
    return result;
  } catch (error) {
    rollBack(connection);
    throw error;
  }
}

function rollBack(connection: Connection): void {
  try {
    connection.exec("ROLLBACK");
  } catch {
    // SQLite rolls back by itself after some failures (disk full, I/O error); then there is nothing left to roll back.
  }
}

function verifyIntegrity(connection: Connection, path: string): void {
  const doing = `check database ${JSON.stringify(path)}`;
  let verdict: unknown;
  try {
    // Unlike integrity_check it does not compare indexes with tables: linear in the file's size.
    verdict = Object.values(connection.prepare("PRAGMA quick_check(1)").get() as Row)[0];
  } catch (error) {
    throw sqliteError(doing, error);
  }
  if (verdict !== "ok") throw new AppError("data_loss", `Cannot ${doing}: ${String(verdict)}`);
}
