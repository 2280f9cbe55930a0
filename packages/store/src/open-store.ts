import { unlinkSync } from "node:fs";
import { type FileHandle, mkdir, open, rm, stat } from "node:fs/promises";
import { join, resolve } from "node:path";
import { AppError, type Digest, type Logger, sha256, silentLogger } from "@soci-ts/core";
import { type Database, openDatabase, openOrReplaceDatabase } from "@soci-ts/sqlite";
import { BlobFiles, namesIn } from "./blobs.ts";
import { Catalogue } from "./catalogue.ts";
import { Claims } from "./claims.ts";
import { Holds } from "./holds.ts";
import { createOwnerName, ownerState } from "./process-owner.ts";
import { CATALOGUE_FILE, prepareRoot, TEMPORARY_DIRECTORY } from "./root-directory.ts";
import { CATALOGUE_MIGRATIONS, LATER_TABLES } from "./schema.ts";
import { storeError } from "./store-error.ts";
import type {
  BlobRecord,
  IndexFilter,
  IndexRecord,
  ReadBlobOptions,
  Store,
  StoreDirectory,
  WriteBlobOptions,
  ZtocClaim,
  ZtocRecord,
} from "./types.ts";

/** How to open a store. */
export interface StoreOptions {
  readonly logger?: Logger;
  /** Set a damaged catalogue aside and begin another one, instead of failing: where all that it names can be fetched again. Default false. */
  readonly replaceDamaged?: boolean;
}

/** After this long, what can't be traced to a living process is a leftover. */
const LEFTOVER_AGE_MS = 24 * 3600 * 1000;

/**
 * Opens the store at `root`, made if absent or empty (mode 0700), and clears what killed processes left in it. The caller closes it.
 * @throws AppError `failed_precondition`, before any write, if a newer version wrote it, if the directory holds something else, or
 * if others may write to it.
 */
export async function openStore(root: string, options: StoreOptions = {}): Promise<Store> {
  const path = resolve(root);
  try {
    await prepareRoot(path);
    const file = join(path, CATALOGUE_FILE);
    // SQLite would make it readable by all; its -wal and -shm files take the mode of this one.
    await (await open(file, "a", 0o600)).close();
    const openCatalogue = options.replaceDamaged === true ? openOrReplaceDatabase : openDatabase;
    const database = openCatalogue(file, {
      migrations: CATALOGUE_MIGRATIONS,
      ...(options.logger === undefined ? {} : { logger: options.logger }),
    });
    database.transaction(() => {
      for (const table of LATER_TABLES) database.prepare(table).run();
    });
    const store = new DiskStore(path, database, options.logger ?? silentLogger);
    await store.clearLeftovers();
    return store;
  } catch (error) {
    throw storeError(`open store ${JSON.stringify(path)}`, error);
  }
}

class DiskStore implements Store {
  readonly root: string;
  readonly #database: Database;
  readonly #catalogue: Catalogue;
  readonly #holds: Holds;
  readonly #claims: Claims;
  readonly #blobs: BlobFiles;
  readonly #logger: Logger;
  #open = true;

  constructor(root: string, database: Database, logger: Logger) {
    this.root = root;
    this.#database = database;
    this.#catalogue = new Catalogue(database);
    this.#holds = new Holds(database);
    this.#claims = new Claims(database);
    this.#blobs = new BlobFiles(root);
    this.#logger = logger;
  }

  hasBlob(digest: Digest): Promise<boolean> {
    return this.#blobs.has(digest);
  }

  readBlob(digest: Digest, options: ReadBlobOptions = {}): Promise<Uint8Array> {
    return this.#blobs.read(digest, options.maxBytes);
  }

  async writeBlob(bytes: Uint8Array, options: WriteBlobOptions = {}): Promise<BlobRecord> {
    const digest = options.digest ?? sha256(bytes);
    await this.#write(digest, bytes);
    return { digest, sizeBytes: bytes.length };
  }

  async writePieces(
    { digest, sizeBytes }: BlobRecord,
    pieces: AsyncIterable<Uint8Array>,
  ): Promise<BlobRecord> {
    await this.#write(digest, pieces);
    return { digest, sizeBytes };
  }

  async #write(digest: Digest, content: Uint8Array | AsyncIterable<Uint8Array>): Promise<void> {
    this.#holds.take(digest);
    try {
      await this.#blobs.write(digest, content);
    } catch (error) {
      this.#holds.drop(digest);
      throw storeError(`write blob ${digest}`, error);
    }
  }

  blobPath(digest: Digest): string {
    return this.#blobs.path(digest);
  }

  async addIndex(index: IndexRecord): Promise<void> {
    const needed = blobsOf(index);
    for (const digest of needed) this.#holds.take(digest);
    try {
      for (const digest of needed) await this.#requireBlob(index.digest, digest);
      this.#database.transaction(() => this.#catalogue.insert(index));
      // The holds that `writeBlob` took have done their work: the catalogue names these blobs now.
      for (const digest of needed) this.#holds.drop(digest);
    } finally {
      for (const digest of needed) this.#holds.drop(digest);
    }
  }

  listIndexes(filter: IndexFilter = {}): IndexRecord[] {
    return this.#catalogue.list(filter);
  }

  getIndex(digest: Digest): IndexRecord | undefined {
    return this.#catalogue.list({ digest })[0];
  }

  async removeIndex(digest: Digest): Promise<void> {
    const index = this.#database.transaction(() => {
      const found = this.#catalogue.list({ digest })[0];
      if (found !== undefined) this.#catalogue.delete(digest);
      return found;
    });
    if (index === undefined) {
      throw new AppError("not_found", `Cannot remove index ${digest}: the store does not have it`);
    }
    this.#deleteUnneeded(blobsOf(index));
  }

  listZtocs(): ZtocRecord[] {
    return this.#catalogue.ztocs();
  }

  getZtoc(digest: Digest): ZtocRecord | undefined {
    return this.#catalogue.ztoc(digest);
  }

  findZtoc(layerDigest: Digest, spanSizeBytes: number): ZtocRecord | undefined {
    return this.#catalogue.findZtoc(layerDigest, spanSizeBytes);
  }

  claimZtoc(layerDigest: Digest, spanSizeBytes: number): ZtocClaim {
    return this.#claims.take(layerDigest, spanSizeBytes);
  }

  settleClaim(layerDigest: Digest, spanSizeBytes: number, made: BlobRecord | undefined): void {
    this.#claims.settle(layerDigest, spanSizeBytes, made);
  }

  async directory(name: StoreDirectory): Promise<string> {
    const path = join(this.root, name);
    await mkdir(path, { recursive: true, mode: 0o700 });
    return path;
  }

  async temporaryFile(): Promise<FileHandle> {
    const path = join(this.root, TEMPORARY_DIRECTORY, createOwnerName());
    try {
      const file = await open(path, "wx+", 0o600);
      unlinkSync(path);
      return file;
    } catch (error) {
      throw storeError("make a temporary file", error);
    }
  }

  async close(): Promise<void> {
    if (!this.#open) return;
    this.#open = false;
    try {
      this.#claims.dropAll();
      this.#holds.dropAll();
    } finally {
      this.#database.close();
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** Deletes temporary files, holds and unnamed blobs that no living process stands for. */
  async clearLeftovers(): Promise<void> {
    const before = Date.now() - LEFTOVER_AGE_MS;
    const directory = join(this.root, TEMPORARY_DIRECTORY);
    for (const name of await namesIn(directory)) {
      const state = ownerState(name);
      if (state === "alive") continue;
      if (state === "unknown" && !(await isOlder(join(directory, name), before))) continue;
      await rm(join(directory, name), { recursive: true, force: true });
      this.#logger.info("leftover of a killed process deleted", { path: name });
    }
    this.#database.transaction(() => {
      this.#holds.forgetDead();
      this.#claims.forgetDead();
    });
    const old = (await this.#blobs.list()).filter(({ writtenAtMs }) => writtenAtMs < before);
    const unnamed = old.map(({ digest }) => digest).filter((it) => !this.#catalogue.isNamed(it));
    if (unnamed.length > 0) this.#deleteUnneeded(unnamed);
  }

  /** In a write transaction, which keeps every other process from taking a hold or naming a blob meanwhile. */
  #deleteUnneeded(digests: readonly Digest[]): void {
    this.#database.transaction(() => {
      for (const digest of digests) {
        if (this.#catalogue.isNamed(digest) || this.#holds.isHeld(digest)) continue;
        unlinkIfThere(this.#blobs.path(digest));
        this.#logger.debug("blob deleted", { digest });
      }
    });
  }

  async #requireBlob(index: Digest, digest: Digest): Promise<void> {
    if (await this.#blobs.has(digest)) return;
    throw new AppError(
      "failed_precondition",
      `Cannot add index ${index}: its blob ${digest} is not in the store, want it written before`,
    );
  }
}

function blobsOf(index: IndexRecord): Digest[] {
  const parts = [...index.ztocs, ...(index.prefetchLists ?? [])];
  return [...new Set([index.digest, ...parts.map(({ digest }) => digest)])];
}

function unlinkIfThere(path: string): void {
  try {
    unlinkSync(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
  }
}

async function isOlder(path: string, beforeMs: number): Promise<boolean> {
  try {
    return (await stat(path)).mtimeMs < beforeMs;
  } catch (error) {
    // Its owner finished with it meanwhile.
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return false;
    throw error;
  }
}
