import { closeSync, openSync, readSync } from "node:fs";

/** sqlite.org/fileformat2.html, "The Database Header": `user_version`, 4 bytes, big-endian. */
const USER_VERSION_AT = 60;
const HEADER_BYTES = 100;
const MAGIC = "SQLite format 3\0";
/** Of the header too: bytes 21 to 23 are the same in every database, so what has others is damaged. */
const FRACTIONS_AT = 21;
const FRACTIONS: readonly number[] = [64, 32, 32];

/**
 * The `user_version` in a database file's header; undefined if there is no such file, or it is no database. SQLite is not asked, since even
 * a connection that only reads may leave files beside it. What a killed process left in the file's WAL is not looked at.
 */
export function databaseVersion(path: string): number | undefined {
  const bytes = Buffer.alloc(HEADER_BYTES);
  let file: number;
  try {
    file = openSync(path, "r");
  } catch {
    return undefined; // absent; or whoever opens it will say why it can't be read
  }
  try {
    if (readSync(file, bytes, 0, HEADER_BYTES, 0) < HEADER_BYTES) return undefined;
  } finally {
    closeSync(file);
  }
  const isDatabase =
    bytes.toString("latin1", 0, MAGIC.length) === MAGIC &&
    FRACTIONS.every((value, at) => bytes[FRACTIONS_AT + at] === value);
  return isDatabase ? bytes.readUInt32BE(USER_VERSION_AT) : undefined;
}
