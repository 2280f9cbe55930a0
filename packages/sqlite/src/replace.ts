import { existsSync, renameSync } from "node:fs";
import { AppError, silentLogger } from "@soci-ts/core";
import type { Database } from "./database.ts";
import { type OpenOptions, openDatabase } from "./open.ts";

/** What belongs to a database's file. */
const SUFFIXES: readonly string[] = ["", "-wal", "-shm"];

/**
 * {@link openDatabase} for what can be lost: all of the file is checked (linear in its size), and one that is damaged is set aside, as
 * `PATH.damaged-TIME`, which is logged as an error; an empty one takes its place.
 * @throws AppError as {@link openDatabase} does, `data_loss` excepted.
 */
export function openOrReplaceDatabase(path: string, options: OpenOptions): Database {
  try {
    return openIntact(path, options);
  } catch (error) {
    const { code, message } = AppError.from(error);
    if (code !== "data_loss") throw error;
    const aside = `${path}.damaged-${Date.now()}`;
    for (const suffix of SUFFIXES) {
      if (existsSync(`${path}${suffix}`)) renameSync(`${path}${suffix}`, `${aside}${suffix}`);
    }
    const logger = options.logger ?? silentLogger;
    logger.error("database is damaged, it was set aside", { path, aside, code, error: message });
    return openDatabase(path, options);
  }
}

function openIntact(path: string, options: OpenOptions): Database {
  const database = openDatabase(path, options);
  try {
    database.verifyIntegrity();
    return database;
  } catch (error) {
    database.close();
    throw error;
  }
}
