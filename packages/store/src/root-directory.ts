import { mkdir, readdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { AppError } from "@soci-ts/core";
import { databaseVersion } from "@soci-ts/sqlite";
import { writeFileAtomically } from "./atomic-file.ts";
import { CATALOGUE_MIGRATIONS } from "./schema.ts";

/** The layout of files under a store's root; a store with a higher number is refused. See FORMAT.md. */
export const STORE_FORMAT = 1;

const PRIVATE = 0o700;

/** The catalogue's file, below the root. */
export const CATALOGUE_FILE = "catalogue.sqlite";

/** The directory of writes in progress, below the root. */
export const TEMPORARY_DIRECTORY = "tmp";

/**
 * Makes `root` a store if it is absent or empty, else checks that it is one.
 * @throws AppError `failed_precondition`, before any write, if a newer version wrote it, if it holds something else, or if
 * others may write to it.
 */
export async function prepareRoot(root: string): Promise<void> {
  await refuseNewerStore(root);
  await mkdir(root, { recursive: true, mode: PRIVATE });
  await refuseSharedDirectory(root);
  const found = await readFormat(root);
  if (found === undefined) await refuseForeignFiles(root);
  else refuseFormat(root, found);
  await mkdir(join(root, TEMPORARY_DIRECTORY), { recursive: true, mode: PRIVATE });
  if (found === undefined) {
    const bytes = Buffer.from(`${STORE_FORMAT}\n`);
    await writeFileAtomically(join(root, "format"), bytes, join(root, TEMPORARY_DIRECTORY));
  }
}

/**
 * Refuses a store that a newer version has written. Nothing is written; there need not be one.
 * @throws AppError `failed_precondition`.
 */
export async function refuseNewerStore(root: string): Promise<void> {
  const found = await readFormat(root);
  if (found !== undefined) refuseFormat(root, found);
  const version = databaseVersion(join(root, CATALOGUE_FILE)) ?? 0;
  const known = CATALOGUE_MIGRATIONS.length;
  if (version <= known) return;
  const state = `its catalogue has version ${version}, want at most ${known}`;
  throw refusal(root, `${state}; use the version that wrote it`);
}

async function refuseSharedDirectory(root: string): Promise<void> {
  const { mode } = await stat(root);
  const mayWrite = (digit: number): boolean => Math.floor(mode / 8 ** digit / 2) % 2 === 1;
  if (!mayWrite(0) && !mayWrite(1)) return;
  throw refusal(root, `its mode ${(mode % 0o1000).toString(8)} lets others write, want 700`);
}

/** Undefined if there is none. Zeros at its end, and emptiness, are what a power cut leaves: nobody writes them. */
async function readFormat(root: string): Promise<string | undefined> {
  try {
    const text = await readFile(join(root, "format"), "latin1");
    return text.replace(/\0+$/, "") || `${STORE_FORMAT}\n`;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    // Where the root is a file, making it says so.
    if (code === "ENOENT" || code === "ENOTDIR") return undefined;
    throw error;
  }
}

/** A first open that was killed leaves at most the temporary directory. */
async function refuseForeignFiles(root: string): Promise<void> {
  const foreign = (await readdir(root)).find((name) => name !== TEMPORARY_DIRECTORY);
  if (foreign === undefined) return;
  const others = await readFormat(root);
  if (others !== undefined) return;
  throw refusal(root, `it holds ${JSON.stringify(foreign)} and no format file, want an empty one`);
}

function refuseFormat(root: string, text: string): void {
  const format = /^\d{1,9}\n?$/.test(text) ? Number(text) : undefined;
  if (format === STORE_FORMAT) return;
  const shown = format ?? JSON.stringify(text.slice(0, 40));
  throw refusal(
    root,
    `its format is ${shown}, want ${STORE_FORMAT}; use the version that wrote it`,
  );
}

function refusal(root: string, why: string): AppError {
  return new AppError("failed_precondition", `Cannot open store ${JSON.stringify(root)}: ${why}`);
}
