export type { Database, Row, Statement } from "./database.ts";
export type { SqlValue } from "./driver.ts";
export { type OpenOptions, openDatabase, openDatabaseReadOnly } from "./open.ts";
export { openOrReplaceDatabase } from "./replace.ts";
export { databaseVersion } from "./version.ts";
