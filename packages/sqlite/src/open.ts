import { existsSync, statSync } from "node:fs";
import { dirname } from "node:path";
import { AppError, type Logger, silentLogger } from "@soci-ts/core";
import { createDatabase, type Database, transact } from "./database.ts";
import type { Connection, Driver } from "./driver.ts";
import { isBusy, sqliteError } from "./errors.ts";
import { loadDriver } from "./load.ts";
import { databaseVersion } from "./version.ts";

/**
 * How a database gets ready: (1) a driver is loaded; (2) an existing file's version is looked at without SQLite, then
 * read-only, so that a file of a newer program is left exactly as it was; (3) it is opened for writing and put in WAL mode; (4) if a `-wal` file was
 * there, the last user died (or still runs), and the structure is checked; (5) missing migrations run in one transaction.
 */
export interface OpenOptions {
  /** SQL scripts in order; `user_version` counts those applied. Only ever append to the list. */
  readonly migrations: readonly string[];
  readonly logger?: Logger;
}

const BUSY_TIMEOUT_MS = 10_000;
const BUSY_RETRY_MS = 20;

/**
 * Opens the database at `path` (its directory must exist; `:memory:` works) and brings it to the newest version.
 * Several processes may do so at once.
 * @throws AppError `not_found` if the directory is absent, `failed_precondition` if the file was written by a newer version of this program, `data_loss` if it is
 * damaged, `unavailable` if it cannot be opened or stays locked for 10 s, `unimplemented` if there is no SQLite driver.
 */
export function openDatabase(path: string, options: OpenOptions): Database {
  return openDatabaseWith(loadDriver(), path, options);
}

/** {@link openDatabase} with a given driver. */
export function openDatabaseWith(driver: Driver, path: string, options: OpenOptions): Database {
  const logger = options.logger ?? silentLogger;
  const doing = `open database ${JSON.stringify(path)}`;
  const unclean = isNonEmptyFile(`${path}-wal`);
  let connection: Connection | undefined;
  try {
    refuseAbsentDirectory(path);
    if (isNonEmptyFile(path)) refuseNewerFile(driver, path, options.migrations.length);
    connection = driver.connect(path, { readOnly: false, busyTimeoutMs: BUSY_TIMEOUT_MS });
    refuseNewer(connection, path, options.migrations.length);
    setPragmas(connection, path, logger);
    const database = createDatabase(connection, path);
    if (unclean) database.verifyIntegrity();
    migrate(connection, path, options.migrations);
    logger.debug("database opened", { path, driver: driver.name });
    return database;
  } catch (error) {
    connection?.close();
    throw sqliteError(doing, error);
  }
}

/**
 * Opens an existing database only to read it, at exactly the version that this program writes. A writer in another process goes on meanwhile. `-wal` and
 * `-shm` may be made beside the file, so its directory must be writable unless the file was closed cleanly and is not in WAL mode.
 * @throws AppError as {@link openDatabase}; `not_found` if there is no file, `failed_precondition` also for an older version, `unavailable` for a file in
 * WAL mode on a read-only file system.
 */
export function openDatabaseReadOnly(path: string, version: number): Database {
  const doing = `open database ${JSON.stringify(path)}`;
  if (!existsSync(path)) throw new AppError("not_found", `Cannot ${doing}: there is no such file`);
  let connection: Connection | undefined;
  try {
    connection = loadDriver().connect(path, { readOnly: true, busyTimeoutMs: BUSY_TIMEOUT_MS });
    refuseOther(connection, path, version);
    return createDatabase(connection, path);
  } catch (error) {
    connection?.close();
    throw sqliteError(doing, error);
  }
}

function refuseOther(connection: Connection, path: string, known: number): void {
  const version = refuseNewer(connection, path, known);
  if (version === known) return;
  throw new AppError(
    "failed_precondition",
    `Cannot read database ${JSON.stringify(path)}: it has version ${version}, want ${known}; opening it for writing brings it there`,
  );
}

function refuseAbsentDirectory(path: string): void {
  if (path === ":memory:" || existsSync(dirname(path))) return;
  throw new AppError(
    "not_found",
    `Cannot open database ${JSON.stringify(path)}: its directory does not exist`,
  );
}

function isNonEmptyFile(path: string): boolean {
  return existsSync(path) && statSync(path).size > 0;
}

/**
 * By the file's header first, which leaves no trace. Then by a read-only connection, which sees what is in the WAL too: closing one that may write would
 * move a dead process's WAL into the file.
 */
function refuseNewerFile(driver: Driver, path: string, known: number): void {
  const version = databaseVersion(path) ?? 0;
  if (version > known) throw newerError(path, version, known);
  let connection: Connection | undefined;
  try {
    connection = driver.connect(path, { readOnly: true, busyTimeoutMs: BUSY_TIMEOUT_MS });
    refuseNewer(connection, path, known);
  } catch (error) {
    if (error instanceof AppError) throw error;
    // Not readable without recovery, or not at all: the connection for writing finds out which.
  } finally {
    connection?.close();
  }
}

function refuseNewer(connection: Connection, path: string, known: number): number {
  const version = pragma(connection, "user_version");
  if (typeof version === "number" && version <= known) return version;
  throw newerError(path, version, known);
}

function newerError(path: string, version: unknown, known: number): AppError {
  return new AppError(
    "failed_precondition",
    `Cannot open database ${JSON.stringify(path)}: it has version ${String(version)}, want at most ${known}; ` +
      "a newer version of this program wrote it",
  );
}

/**
 * WAL: readers and one writer do not block each other. `synchronous = FULL` syncs the WAL at every commit: with NORMAL a
 * power cut may take back commits that were already acknowledged to a client whose blobs are safe on the disk. Commits
 * here are few and each follows an fsync of a file anyway.
 */
function setPragmas(connection: Connection, path: string, logger: Logger): void {
  const mode = enterWal(connection);
  if (mode !== "wal" && path !== ":memory:") {
    logger.warn("database is not in WAL mode", { path, mode: String(mode) });
  }
  connection.exec(
    "PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA trusted_schema = OFF",
  );
}

/** The switch to WAL does not wait for locks by itself, so two first openers of one file would meet SQLITE_BUSY. */
function enterWal(connection: Connection): unknown {
  const deadline = Date.now() + BUSY_TIMEOUT_MS;
  for (;;) {
    try {
      return pragma(connection, "journal_mode = WAL");
    } catch (error) {
      if (!isBusy(error) || Date.now() > deadline) throw error;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, BUSY_RETRY_MS);
    }
  }
}

function migrate(connection: Connection, path: string, migrations: readonly string[]): void {
  if (refuseNewer(connection, path, migrations.length) === migrations.length) return;
  transact(connection, () => {
    // Another process may have migrated while this one waited for the lock.
    const version = refuseNewer(connection, path, migrations.length);
    for (const script of migrations.slice(version)) connection.exec(script);
    connection.exec(`PRAGMA user_version = ${migrations.length}`);
  });
}

function pragma(connection: Connection, text: string): unknown {
  return Object.values(connection.prepare(`PRAGMA ${text}`).get() as Record<string, unknown>)[0];
}
