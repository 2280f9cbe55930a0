import { randomUUID } from "node:crypto";
import { closeSync, renameSync, rmSync } from "node:fs";
import { mkdir, readFile, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { type Digest, digestAlgorithm, digestHex, type Logger, type Metrics } from "@soci-ts/core";
import { type Database, openOrReplaceDatabase, type Statement } from "@soci-ts/sqlite";
import { absentAsUndefined, BlobFiles } from "../blob-files.ts";
import { CACHE_MIGRATIONS } from "./cache-schema.ts";
import { DISK_FULL_PAUSE_MS, MAX_CACHE_ENTRIES } from "./limits.ts";
import { Records } from "./records.ts";

const FLUSH_MS = 60_000;

/** What a cache is made of. */
export interface CacheOptions {
  readonly limitBytes: number;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

/** Content that is cached, verified. */
export interface CacheEntry {
  readonly sizeBytes: number;
  /** Of manifests. */
  readonly mediaType: string | undefined;
}

interface Entry extends CacheEntry {
  pins: number;
  isTouched: boolean;
}

/** Space that content may take before it is an entry. */
export interface Reservation {
  /** Gives the space back, unless it has become an entry's. Idempotent. */
  readonly release: () => void;
}

/**
 * Verified content of upstreams, at most so many bytes of it: what was used longest ago goes first, never what is pinned because
 * it is being sent. Space is reserved before content is fetched. Files are synced before their rows are written; files without
 * rows and unfinished ones go at the next start.
 */
export class Cache implements AsyncDisposable {
  readonly records: Records;
  readonly #directory: string;
  readonly #files: BlobFiles;
  readonly #database: Database;
  readonly #options: CacheOptions;
  /** The one that was used longest ago first. */
  readonly #entries = new Map<Digest, Entry>();
  readonly #insert: Statement<unknown>;
  readonly #deletes: readonly Statement<unknown>[];
  readonly #touch: Statement<unknown>;
  readonly #timer: NodeJS.Timeout;
  #usedBytes = 0;
  /** Of these, what cannot be evicted now. */
  #heldBytes = 0;
  #isClosed = false;
  #pausedUntilMs = 0;

  private constructor(
    directory: string,
    files: BlobFiles,
    database: Database,
    options: CacheOptions,
  ) {
    this.#directory = directory;
    this.#files = files;
    this.#database = database;
    this.#options = options;
    this.records = new Records(database);
    this.#insert = database.prepare(
      `INSERT INTO entry (digest, size, media_type, used_ms) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING`,
    );
    this.#deletes = ["entry", "link", "tag"].map((table) =>
      database.prepare(`DELETE FROM ${table} WHERE digest = ?`),
    );
    this.#touch = database.prepare("UPDATE entry SET used_ms = ? WHERE digest = ?");
    this.#timer = setInterval(() => this.#flush(), FLUSH_MS).unref();
  }

  /** Opens the cache in a directory, which is made if need be; the caller has it for itself. */
  static async open(directory: string, options: CacheOptions): Promise<Cache> {
    await rm(join(directory, "partial"), { recursive: true, force: true });
    await mkdir(join(directory, "partial"), { recursive: true });
    const files = await BlobFiles.open(directory);
    const path = join(directory, "cache.sqlite");
    const database = openOrReplaceDatabase(path, {
      migrations: CACHE_MIGRATIONS,
      logger: options.logger,
    });
    // A lost commit costs a download, no more.
    database.prepare("PRAGMA synchronous = NORMAL").run();
    const cache = new Cache(directory, files, database, options);
    await cache.#load();
    return cache;
  }

  /** Bytes that entries and reservations take. */
  get usedBytes(): number {
    return this.#usedBytes;
  }

  /** An entry; looking counts as use. */
  find(digest: Digest): CacheEntry | undefined {
    const entry = this.#entries.get(digest);
    if (entry === undefined) return undefined;
    this.#entries.delete(digest);
    this.#entries.set(digest, entry);
    entry.isTouched = true;
    return entry;
  }

  /** Opens an entry's file, and keeps it from eviction until `release`; undefined if there is no such entry, or its file is lost. */
  async openFile(digest: Digest): Promise<{ descriptor: number; release: () => void } | undefined> {
    const entry = this.#entries.get(digest);
    if (entry === undefined) return undefined;
    const release = this.pin(digest);
    const descriptor = await this.#files.open(digest, entry.sizeBytes);
    if (descriptor !== undefined) return { descriptor, release };
    release();
    this.#options.logger.warn("cached file is missing or damaged", { digest });
    this.remove(digest);
    return undefined;
  }

  /** All bytes of an entry, for small ones. */
  async read(digest: Digest): Promise<Uint8Array | undefined> {
    const opened = await this.openFile(digest);
    if (opened === undefined) return undefined;
    closeSync(opened.descriptor);
    const bytes = await readFile(this.#path(digest)).catch(absentAsUndefined);
    opened.release();
    return bytes;
  }

  /** Keeps an entry, once it is one, from eviction until the function that is returned is called. */
  pin(digest: Digest): () => void {
    const entry = this.#entries.get(digest);
    if (entry === undefined) return () => {};
    entry.pins += 1;
    if (entry.pins === 1) this.#heldBytes += entry.sizeBytes;
    let isPinned = true;
    return () => {
      if (!isPinned) return;
      isPinned = false;
      entry.pins -= 1;
      const isStillThere = this.#entries.get(digest) === entry;
      if (entry.pins === 0 && isStillThere) this.#heldBytes -= entry.sizeBytes;
    };
  }

  /** Makes room; undefined if there is not enough even without everything that may go, or the disk was full just now. */
  reserve(sizeBytes: number): Reservation | undefined {
    if (Date.now() < this.#pausedUntilMs || !this.#evictFor(sizeBytes)) return undefined;
    this.#usedBytes += sizeBytes;
    this.#heldBytes += sizeBytes;
    let isHeld = true;
    const release = (): void => {
      if (!isHeld) return;
      isHeld = false;
      this.#usedBytes -= sizeBytes;
      this.#heldBytes -= sizeBytes;
    };
    return { release };
  }

  /** A path for content that is not verified yet. */
  partialPath(): string {
    return join(this.#directory, "partial", randomUUID());
  }

  /** The disk is full: others need what is left of it. */
  pause(): void {
    this.#pausedUntilMs = Date.now() + DISK_FULL_PAUSE_MS;
  }

  /** Makes a verified and synced file an entry; the reservation made for it is its space from now on. */
  admit(digest: Digest, from: string, entry: CacheEntry): void {
    if (this.#entries.has(digest)) {
      rmSync(from, { force: true });
      return;
    }
    renameSync(from, this.#path(digest));
    this.#insert.run(digest, entry.sizeBytes, entry.mediaType ?? null, Date.now());
    this.#usedBytes += entry.sizeBytes;
    this.#entries.set(digest, { ...entry, pins: 0, isTouched: false });
  }

  /** Forgets an entry and removes its file; readers that have it open go on. */
  remove(digest: Digest): void {
    const entry = this.#entries.get(digest);
    if (entry === undefined) return;
    this.#entries.delete(digest);
    this.#usedBytes -= entry.sizeBytes;
    if (entry.pins > 0) this.#heldBytes -= entry.sizeBytes;
    this.#database.transaction(() => {
      for (const statement of this.#deletes) statement.run(digest);
    });
    // Its name is gone at once; what is left of its bytes goes at the next start.
    this.#files.remove(digest).catch(() => {});
  }

  /** Idempotent. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    clearInterval(this.#timer);
    this.#flush();
    this.#database.close();
  }

  async #load(): Promise<void> {
    const rows = this.#database
      .prepare<{ digest: Digest; size: number; media_type: string | null }>(
        "SELECT digest, size, media_type FROM entry ORDER BY used_ms",
      )
      .all();
    for (const { digest, size, media_type } of rows) {
      const entry = { sizeBytes: size, mediaType: media_type ?? undefined };
      this.#entries.set(digest, { ...entry, pins: 0, isTouched: false });
      this.#usedBytes += size;
      if ((await stat(this.#path(digest)).catch(absentAsUndefined)) === undefined) {
        this.remove(digest);
      }
    }
    const removedFiles = await this.#files.sweep((digest) => this.#entries.has(digest));
    this.#evictFor(0);
    const { logger } = this.#options;
    logger.info("cache opened", { entries: this.#entries.size, removedFiles });
  }

  #evictFor(sizeBytes: number): boolean {
    const { limitBytes, metrics } = this.#options;
    const isEnough = (): boolean =>
      this.#usedBytes + sizeBytes <= limitBytes && this.#entries.size < MAX_CACHE_ENTRIES;
    if (this.#heldBytes + sizeBytes > limitBytes) return false;
    for (const [digest, { pins }] of this.#entries) {
      if (isEnough()) break;
      if (pins > 0) continue;
      this.remove(digest);
      metrics.count("soci_referrers_cache_evictions_total");
    }
    return isEnough();
  }

  /** Uses are written together: one at a time would be a write to the disk for each answer. */
  #flush(): void {
    let usedMs = Date.now();
    this.#database.transaction(() => {
      for (const [digest, entry] of this.#entries) {
        if (!entry.isTouched) continue;
        entry.isTouched = false;
        this.#touch.run(usedMs, digest);
        usedMs += 1;
      }
    });
  }

  #path(digest: Digest): string {
    return join(this.#directory, digestAlgorithm(digest), digestHex(digest));
  }
}
