import { access, constants, copyFile, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DisposeStack } from "@soci-ts/core";
import { type Database, openDatabaseReadOnly } from "@soci-ts/sqlite";
import { absentAsUndefined } from "../blob-files.ts";
import { isDiskFull } from "../spec-error.ts";
import { CATALOGUE_VERSION } from "./schema.ts";

/** The catalogue's file in a root. */
export const CATALOGUE = "catalogue.sqlite";

/** A catalogue that is only read; whoever opened it disposes of it. */
export interface ReadOnlyCatalogue extends AsyncDisposable {
  readonly database: Database;
}

/**
 * Opens a root's catalogue to read it, also while a service writes to it. Where the root can't be written to, SQLite can't either keep the files that it
 * needs beside a catalogue in WAL mode: then a copy of it in the folder for temporary files is opened, and nobody changes the original meanwhile.
 * @throws AppError as {@link openDatabaseReadOnly}.
 */
export async function openCatalogueReadOnly(root: string): Promise<ReadOnlyCatalogue> {
  await using resources = new DisposeStack();
  const path = join(root, CATALOGUE);
  const database = (await isWritable(root))
    ? await openInPlace(path, resources)
    : openDatabaseReadOnly(await copyAside(path, resources), CATALOGUE_VERSION);
  resources.defer(() => database.close());
  const opened = resources.move();
  return { database, [Symbol.asyncDispose]: () => opened[Symbol.asyncDispose]() };
}

async function openInPlace(path: string, resources: DisposeStack): Promise<Database> {
  try {
    return openDatabaseReadOnly(path, CATALOGUE_VERSION);
  } catch (error) {
    // On a full disk there is no room for what SQLite keeps beside it.
    if (!isDiskFull(error)) throw error;
    return openDatabaseReadOnly(await copyAside(path, resources), CATALOGUE_VERSION);
  }
}

async function copyAside(path: string, resources: DisposeStack): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "soci-catalogue-"));
  resources.defer(() => rm(folder, { recursive: true, force: true }));
  const copy = join(folder, CATALOGUE);
  await copyFile(path, copy).catch(absentAsUndefined);
  await copyFile(`${path}-wal`, `${copy}-wal`).catch(absentAsUndefined);
  return copy;
}

async function isWritable(root: string): Promise<boolean> {
  const refusal = await access(root, constants.W_OK).then(
    () => undefined,
    (error: NodeJS.ErrnoException) => error,
  );
  if (refusal?.code === "EROFS" || refusal?.code === "EACCES") return false;
  // If the root is absent, opening the catalogue says so.
  return true;
}
