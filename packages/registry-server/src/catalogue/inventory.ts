import type { Digest } from "@soci-ts/core";
import type { Database, Statement } from "@soci-ts/sqlite";

/** A blob's row, with whether any repository has it. */
export interface BlobRow {
  readonly digest: Digest;
  readonly size: number;
  readonly linked: number;
}

/** A manifest's row with its bytes. */
export interface ManifestRow {
  readonly id: number;
  readonly repository: number;
  readonly name: string;
  readonly digest: Digest;
  readonly media_type: string;
  readonly size: number;
  readonly subject: string | null;
  readonly bytes: Uint8Array;
}

/** How much there is. */
export interface Totals {
  readonly repositories: number;
  readonly tags: number;
}

const NOTHING_USES = "NOT EXISTS (SELECT 1 FROM manifest WHERE manifest.digest = content.digest)";

/** All that a catalogue has, row by row, for those who check or copy it. */
export class Inventory {
  readonly #database: Database;
  readonly #blobs: Statement<BlobRow>;
  readonly #blob: Statement<{ size: number }>;
  readonly #manifests: Statement<ManifestRow>;
  readonly #references: Statement<{ digest: string }>;
  readonly #lacks: Statement<{ digest: string }>;
  readonly #unused: Statement<{ digest: string }>;

  constructor(database: Database) {
    this.#database = database;
    this.#blobs = database.prepare(
      `SELECT digest, size, EXISTS (SELECT 1 FROM repository_blob AS b WHERE b.digest = blob.digest) AS linked
       FROM blob WHERE digest > ? ORDER BY digest LIMIT ?`,
    );
    this.#blob = database.prepare("SELECT size FROM blob WHERE digest = ?");
    this.#manifests = database.prepare(
      `SELECT manifest.id, repository, name, digest, media_type, size, subject, bytes
       FROM manifest JOIN content USING (digest) JOIN repository ON repository.id = repository
       WHERE manifest.id > ? ORDER BY manifest.id LIMIT ?`,
    );
    this.#references = database.prepare("SELECT digest FROM reference WHERE manifest = ?");
    this.#lacks = database.prepare(
      `SELECT digest FROM reference AS r WHERE manifest = ?
       AND NOT EXISTS (SELECT 1 FROM repository_blob AS b WHERE b.repository = r.repository AND b.digest = r.digest)
       AND NOT EXISTS (SELECT 1 FROM manifest AS m WHERE m.repository = r.repository AND m.digest = r.digest)`,
    );
    this.#unused = database.prepare(`SELECT digest FROM content WHERE ${NOTHING_USES} LIMIT ?`);
  }

  /** Structure, and that every row which another one names is there. @returns the faults, at most 100. */
  damage(): string[] {
    const text = (row: object): string => Object.values(row).join(" ");
    const faults = this.#database.prepare("PRAGMA quick_check(100)").all().map(text);
    const broken = this.#database.prepare("PRAGMA foreign_key_check").all().slice(0, 100);
    return [
      ...faults.filter((fault) => fault !== "ok"),
      ...broken.map((row) => `a row that another one names is missing: ${text(row)}`),
    ];
  }

  /** Blobs after `after` in the order of their digests. */
  blobs(after: string, limit: number): BlobRow[] {
    return this.#blobs.all(after, limit);
  }

  /** The size of a blob in bytes; undefined if it has no row. */
  blobSize(digest: string): number | undefined {
    return this.#blob.get(digest)?.size;
  }

  /** Manifests after `afterId`. */
  manifests(afterId: number, limit: number): ManifestRow[] {
    return this.#manifests.all(afterId, limit);
  }

  /** What the catalogue says that a manifest needs. */
  references(manifest: number): string[] {
    return this.#references.all(manifest).map(({ digest }) => digest);
  }

  /** What a manifest needs and its repository does not have. */
  lacking(manifest: number): string[] {
    return this.#lacks.all(manifest).map(({ digest }) => digest);
  }

  /** Bytes of manifests that no repository has. */
  unusedContent(limit: number): string[] {
    return this.#unused.all(limit).map(({ digest }) => digest);
  }

  /** Numbers of rows; reads through two tables. */
  totals(): Totals {
    const count = (table: string): number =>
      this.#database.prepare<{ n: number }>(`SELECT count(*) AS n FROM ${table}`).get()?.n ?? 0;
    return { repositories: count("repository"), tags: count("tag") };
  }
}

/** Removes what is provably nothing, and writes down again what is derived from bytes. For a catalogue that nobody else has open. */
export class CatalogueRepair {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  /** Bytes of manifests that no repository has. */
  removeUnusedContent(): void {
    this.#database.prepare(`DELETE FROM content WHERE ${NOTHING_USES}`).run();
  }

  /** A blob that no repository has. */
  removeUnlinkedBlob(digest: string): void {
    this.#database.prepare("DELETE FROM blob WHERE digest = ?").run(digest);
  }

  /** What a manifest needs, as its bytes say. */
  setReferences(manifest: number, repository: number, digests: readonly string[]): void {
    const insert = this.#database.prepare(
      "INSERT INTO reference (repository, digest, manifest) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
    );
    this.#database.transaction(() => {
      this.#database.prepare("DELETE FROM reference WHERE manifest = ?").run(manifest);
      for (const digest of digests) insert.run(repository, digest, manifest);
    });
  }
}
