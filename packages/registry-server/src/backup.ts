import { existsSync } from "node:fs";
import { mkdir, readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { AppError, DisposeStack } from "@soci-ts/core";
import { openDatabaseReadOnly } from "@soci-ts/sqlite";
import { copyBlobs } from "./backup-blobs.ts";
import { absentAsUndefined, BlobFiles, syncDirectory } from "./blob-files.ts";
import { Inventory } from "./catalogue/inventory.ts";
import { CATALOGUE, openCatalogueReadOnly } from "./catalogue/open-read-only.ts";
import { CATALOGUE_VERSION } from "./catalogue/schema.ts";
import { lockRoot } from "./root-lock.ts";

/** Says that a folder is a backup, and of what format. */
const MARK = "backup.json";
const FORMAT = 1;
const NEW_CATALOGUE = `${CATALOGUE}.new`;
/** Snapshots that are taken before a service that deletes faster than we copy is given up on. */
const MAX_SNAPSHOTS = 10;

/** What a backup or a restore did. */
export interface BackupReport {
  readonly blobs: number;
  /** Files that were not there before, by how they came: as another name of the same file, or as a copy. */
  readonly linked: number;
  readonly copied: number;
  readonly copiedBytes: number;
  /** Files of earlier backups that nothing names any more. */
  readonly removed: number;
  /** Blobs that the source has lost or whose bytes are wrong; all else was copied. The first 1000. */
  readonly damaged: readonly string[];
}

/** How a backup or a restore is made. */
export interface BackupOptions {
  readonly signal?: AbortSignal | undefined;
}

/**
 * Makes or renews a backup of a root, also while a service works on it: the state of one moment. `destination` is a root itself: it can be checked and
 * even served. Blobs that it has already are not read again. On the same file system blobs become other names of the same files, which costs no space
 * and is no help against a broken disk. Until the end an earlier backup there stays what it was, whenever this is killed.
 * @throws AppError `not_found` if there is no registry, `failed_precondition` if `destination` is neither empty nor a backup, `unavailable` if another process
 * uses it, `aborted` if the service deletes blobs faster than they are copied.
 */
export async function backUpRegistry(
  root: string,
  destination: string,
  options: BackupOptions = {},
): Promise<BackupReport> {
  await using resources = new DisposeStack();
  const { database } = resources.use(await openCatalogueReadOnly(root));
  await prepareDestination(destination);
  const lock = lockRoot(destination, 0);
  resources.defer(() => lock.close());
  const files = await BlobFiles.open(join(destination, "blobs"));
  const counts = { linked: 0, copied: 0, copiedBytes: 0 };
  for (let round = 1; ; round += 1) {
    await rm(join(destination, NEW_CATALOGUE), { force: true });
    database.prepare("VACUUM INTO ?").run(join(destination, NEW_CATALOGUE));
    using snapshot = openDatabaseReadOnly(join(destination, NEW_CATALOGUE), CATALOGUE_VERSION);
    const inventory = new Inventory(snapshot);
    const copy = { from: root, to: destination, inventory, canLink: true, ...options };
    const { blobs, lost, damaged, ...moved } = await copyBlobs(copy);
    counts.linked += moved.linked;
    counts.copied += moved.copied;
    counts.copiedBytes += moved.copiedBytes;
    // What the service deleted meanwhile is not in the next snapshot; what it has lost for good is there still.
    const current = new Inventory(database);
    const isOutdated = lost.some((digest) => current.blobSize(digest) === undefined);
    if (isOutdated && round < MAX_SNAPSHOTS) continue;
    if (isOutdated) throw tooManyDeletions(root);
    await placeCatalogue(destination);
    const removed = await files.sweep((digest) => inventory.blobSize(digest) !== undefined);
    return { blobs, ...counts, removed, damaged: [...lost, ...damaged] };
  }
}

/**
 * Makes a root of a backup. Every blob is copied, never linked, and its bytes are verified; one that the backup lost is reported, and clients can push it again.
 * @throws AppError `not_found` if `source` is no backup, `already_exists` if `root` has a registry, `unavailable` if either is in use.
 */
export async function restoreRegistry(
  source: string,
  root: string,
  options: BackupOptions = {},
): Promise<BackupReport> {
  await using resources = new DisposeStack();
  await requireMark(source);
  const { database } = resources.use(await openCatalogueReadOnly(source));
  await mkdir(root, { recursive: true });
  const lock = lockRoot(root, 0);
  resources.defer(() => lock.close());
  if (existsSync(join(root, CATALOGUE))) {
    throw new AppError(
      "already_exists",
      `Cannot restore to ${JSON.stringify(root)}: it has a registry, want an empty folder`,
    );
  }
  await BlobFiles.open(join(root, "blobs"));
  const inventory = new Inventory(database);
  const copy = { from: source, to: root, inventory, canLink: false, ...options };
  const { lost, damaged, ...counts } = await copyBlobs(copy);
  await rm(join(root, NEW_CATALOGUE), { force: true });
  database.prepare("VACUUM INTO ?").run(join(root, NEW_CATALOGUE));
  await placeCatalogue(root);
  return { ...counts, removed: 0, damaged: [...lost, ...damaged] };
}

async function prepareDestination(destination: string): Promise<void> {
  await mkdir(destination, { recursive: true });
  if (existsSync(join(destination, MARK))) return requireMark(destination);
  if ((await readdir(destination)).length > 0) {
    throw new AppError(
      "failed_precondition",
      `Cannot back up to ${JSON.stringify(destination)}: it is no backup and not empty`,
    );
  }
  await writeFile(join(destination, MARK), `${JSON.stringify({ format: FORMAT })}\n`);
}

async function requireMark(folder: string): Promise<void> {
  const text = await readFile(join(folder, MARK), "utf8").catch(absentAsUndefined);
  if (text === undefined) {
    throw new AppError("not_found", `Cannot use ${JSON.stringify(folder)}: it is no backup`);
  }
  const format = formatOf(text);
  if (format === FORMAT) return;
  throw new AppError(
    "failed_precondition",
    `Cannot use backup ${JSON.stringify(folder)}: its format is ${String(format)}, want ${FORMAT}`,
  );
}

function formatOf(text: string): unknown {
  try {
    return (JSON.parse(text) as { readonly format?: unknown } | null)?.format;
  } catch {
    return undefined; // which is no format that we know
  }
}

/** The catalogue is put in place last, and at once. A WAL of the one before must not be taken for its own. */
async function placeCatalogue(folder: string): Promise<void> {
  const path = join(folder, CATALOGUE);
  syncDirectory(join(folder, NEW_CATALOGUE));
  for (const suffix of ["-wal", "-shm"]) await rm(path + suffix, { force: true });
  await rename(join(folder, NEW_CATALOGUE), path);
  syncDirectory(folder);
}

function tooManyDeletions(root: string): AppError {
  return new AppError(
    "aborted",
    `Cannot back up ${JSON.stringify(root)}: blobs are deleted faster than they are copied; try again`,
  );
}
