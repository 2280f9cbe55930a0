import { AppError, type ErrorCode } from "@soci-ts/core";

/** Primary result codes of SQLite (sqlite3.h, "Result Codes") that a caller can act on. */
const PRIMARY_CODES: readonly (readonly [value: number, name: string, code: ErrorCode])[] = [
  [3, "SQLITE_PERM", "permission_denied"],
  [5, "SQLITE_BUSY", "unavailable"],
  [6, "SQLITE_LOCKED", "unavailable"],
  [8, "SQLITE_READONLY", "permission_denied"],
  [10, "SQLITE_IOERR", "data_loss"],
  [11, "SQLITE_CORRUPT", "data_loss"],
  [13, "SQLITE_FULL", "resource_exhausted"],
  [14, "SQLITE_CANTOPEN", "unavailable"],
  [18, "SQLITE_TOOBIG", "resource_exhausted"],
  [19, "SQLITE_CONSTRAINT", "failed_precondition"],
  [26, "SQLITE_NOTADB", "data_loss"],
];

/** Extended codes 1555 (primary key) and 2067 (unique): the row is there already. */
const DUPLICATES: readonly (number | string)[] = [
  1555,
  2067,
  "SQLITE_CONSTRAINT_PRIMARYKEY",
  "SQLITE_CONSTRAINT_UNIQUE",
];

/** SQLITE_IOERR_SHMSIZE (sqlite3.h: 10 | 19 << 8): the index of the WAL can't grow, since the disk is full. It is no damage as other I/O errors are. */
const FULL_WAL_INDEX: readonly (number | string)[] = [4874, "SQLITE_IOERR_SHMSIZE"];

/** What a driver threw, as an AppError; `doing` completes "Cannot …". An AppError is handed on as it is. */
export function sqliteError(doing: string, error: unknown): AppError {
  if (error instanceof AppError) return error;
  const result = resultCode(error);
  const text = error instanceof Error ? error.message : String(error);
  return new AppError(errorCode(result), `Cannot ${doing}: ${text}`, {
    cause: error,
    ...(result === undefined ? {} : { details: { sqlite: result } }),
  });
}

/** True if another connection holds the lock that was wanted. */
export function isBusy(error: unknown): boolean {
  return errorCode(resultCode(error)) === "unavailable";
}

/** better-sqlite3 gives the extended code's name in `code`, node:sqlite its number in `errcode`. */
function resultCode(error: unknown): number | string | undefined {
  if (!(error instanceof Error)) return undefined;
  const { code, errcode } = error as { code?: unknown; errcode?: unknown };
  if (typeof errcode === "number") return errcode;
  return typeof code === "string" && code.startsWith("SQLITE_") ? code : undefined;
}

function errorCode(result: number | string | undefined): ErrorCode {
  if (result === undefined) return "internal";
  if (DUPLICATES.includes(result)) return "already_exists";
  if (FULL_WAL_INDEX.includes(result)) return "resource_exhausted";
  const found = PRIMARY_CODES.find(([value, name]) =>
    typeof result === "number" ? result % 256 === value : result.startsWith(name),
  );
  return found?.[2] ?? "internal";
}
