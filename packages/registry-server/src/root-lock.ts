import { join } from "node:path";
import { AppError } from "@soci-ts/core";
import { type Database, openDatabase } from "@soci-ts/sqlite";

const WAIT_MS = 2000;

/**
 * Two processes on one root would sweep each other's files. The lock is a write transaction on a database of its own that
 * is never ended: the system drops it however the process dies, and the catalogue stays readable for backups.
 * Whoever takes it closes it.
 * @param waitMs - how long a predecessor that is just closing may take.
 * @throws AppError `unavailable` if another process has it.
 */
export function lockRoot(root: string, waitMs: number = WAIT_MS): Database {
  const lock = openDatabase(join(root, "lock.sqlite"), { migrations: [] });
  try {
    lock.prepare(`PRAGMA busy_timeout = ${waitMs}`).get();
    lock.prepare("BEGIN EXCLUSIVE").run();
    return lock;
  } catch (cause) {
    lock.close();
    throw inUse(root, cause);
  }
}

function inUse(root: string, cause: unknown): AppError {
  return new AppError(
    "unavailable",
    `Cannot open registry ${JSON.stringify(root)}: another process has it open`,
    { cause },
  );
}
