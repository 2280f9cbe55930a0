import { AppError } from "@soci-ts/core";
import { loadBetterSqlite3 } from "./better-sqlite3.ts";
import type { Driver } from "./driver.ts";
import { loadNodeSqlite } from "./node-sqlite.ts";

const LOADERS: readonly (() => Driver)[] = [loadBetterSqlite3, loadNodeSqlite];

/**
 * The first driver that loads: better-sqlite3, else node:sqlite.
 * @throws AppError `unimplemented` if none does; the message says what to install and why each failed.
 */
export function loadDriver(loaders: readonly (() => Driver)[] = LOADERS): Driver {
  const failures: string[] = [];
  for (const load of loaders) {
    try {
      return load();
    } catch (error) {
      failures.push(firstLine(error));
    }
  }
  throw new AppError(
    "unimplemented",
    "Cannot open any SQLite database: no driver loads. Run `npm rebuild better-sqlite3` (a build needs python3, make and a " +
      `C++ compiler), or use Node 22.13 or later, which has SQLite built in. Tried: ${failures.join("; ")}`,
  );
}

function firstLine(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  return text.split("\n", 1)[0] ?? "";
}
