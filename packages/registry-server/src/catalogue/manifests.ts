import type { Digest } from "@soci-ts/core";
import type { Database, Statement } from "@soci-ts/sqlite";
import type { ManifestFacts } from "../manifest-facts.ts";
import type { BlobTable } from "./blobs.ts";
import { ManifestRemoval } from "./removal.ts";
import type { RepositoryTable } from "./repositories.ts";

/** A stored manifest, byte for byte as it was pushed. */
export interface StoredManifest {
  readonly digest: Digest;
  readonly mediaType: string;
  readonly bytes: Uint8Array;
}

/** A manifest to store. */
export interface NewManifest {
  readonly digest: Digest;
  readonly bytes: Uint8Array;
  readonly facts: ManifestFacts;
  readonly tags: readonly string[];
  /** It is stored also if something that it refers to is missing. */
  readonly allowsMissing: boolean;
}

interface ManifestRow {
  readonly digest: Digest;
  readonly media_type: string;
  readonly bytes: Uint8Array;
}

const REPOSITORY = "(SELECT id FROM repository WHERE name = ?)";
const SELECT_MANIFEST =
  "SELECT manifest.digest, media_type, bytes FROM manifest JOIN content USING (digest)";

/** Manifests and tags. Every method is one step: nobody sees half of it. */
export class ManifestTable {
  readonly #database: Database;
  readonly #repositories: RepositoryTable;
  readonly #blobs: BlobTable;
  readonly #byDigest: Statement<ManifestRow>;
  readonly #byTag: Statement<ManifestRow>;
  readonly #has: Statement<unknown>;
  readonly #insertContent: Statement<unknown>;
  readonly #upsert: Statement<{ id: number }>;
  readonly #refer: Statement<unknown>;
  readonly #forgetRemovedSubject: Statement<unknown>;
  readonly #release: Statement<unknown>;
  readonly #setTag: Statement<unknown>;
  readonly #deleteTag: Statement<unknown>;
  readonly #removal: ManifestRemoval;

  constructor(database: Database, repositories: RepositoryTable, blobs: BlobTable) {
    this.#database = database;
    this.#repositories = repositories;
    this.#blobs = blobs;
    this.#byDigest = database.prepare(
      `${SELECT_MANIFEST} WHERE repository = ${REPOSITORY} AND manifest.digest = ?`,
    );
    this.#byTag = database.prepare(
      `${SELECT_MANIFEST} JOIN tag USING (repository, digest) WHERE repository = ${REPOSITORY} AND tag.name = ?`,
    );
    this.#has = database.prepare("SELECT 1 FROM manifest WHERE repository = ? AND digest = ?");
    this.#insertContent = database.prepare(
      "INSERT INTO content (digest, bytes) VALUES (?, ?) ON CONFLICT DO NOTHING",
    );
    this.#upsert = database.prepare(
      `INSERT INTO manifest (repository, digest, media_type, size, subject, artifact_type, annotations, created_ms)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?)
       ON CONFLICT (repository, digest) DO UPDATE SET media_type = excluded.media_type, released_ms = excluded.created_ms
       RETURNING id`,
    );
    this.#refer = database.prepare(
      "INSERT INTO reference (repository, digest, manifest) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
    );
    this.#forgetRemovedSubject = database.prepare(
      "DELETE FROM removed_subject WHERE repository = ? AND digest = ?",
    );
    this.#release = database.prepare(
      "UPDATE manifest SET released_ms = ? WHERE repository = ? AND digest = (SELECT digest FROM tag WHERE repository = ? AND name = ?)",
    );
    this.#setTag = database.prepare(
      `INSERT INTO tag (repository, name, digest, updated_ms) VALUES (?, ?, ?, ?)
       ON CONFLICT DO UPDATE SET digest = excluded.digest, updated_ms = excluded.updated_ms`,
    );
    this.#deleteTag = database.prepare("DELETE FROM tag WHERE repository = ? AND name = ?");
    this.#removal = new ManifestRemoval(database);
  }

  /** The manifest with this digest. */
  findByDigest(repository: string, digest: Digest): StoredManifest | undefined {
    return stored(this.#byDigest.get(repository, digest));
  }

  /** The manifest that the tag points at. */
  findByTag(repository: string, tag: string): StoredManifest | undefined {
    return stored(this.#byTag.get(repository, tag));
  }

  /** True if the repository has the manifest. */
  has(repository: string, digest: Digest): boolean {
    const id = this.#repositories.find(repository);
    return id !== undefined && this.#has.get(id, digest) !== undefined;
  }

  /**
   * Stores a manifest and points tags at it, unless something it refers to is missing in the repository and may not be.
   * @returns what is missing; if anything is that may not be, nothing was written.
   */
  put(repository: string, manifest: NewManifest): readonly Digest[] {
    const { digest, bytes, facts, tags } = manifest;
    return this.#database.transaction(() => {
      const missing = this.#missing(repository, facts);
      if (missing.length > 0 && !manifest.allowsMissing) return missing;
      const id = this.#repositories.ensure(repository);
      const now = Date.now();
      this.#insertContent.run(digest, bytes);
      const row = this.#upsert.get(
        id,
        digest,
        facts.mediaType,
        bytes.length,
        facts.subject ?? null,
        facts.artifactType ?? null,
        facts.annotations === undefined ? null : JSON.stringify(facts.annotations),
        now,
      );
      if (row === undefined) throw new Error("INSERT … RETURNING gave no row");
      for (const needed of [...facts.blobs, ...facts.manifests])
        this.#refer.run(id, needed, row.id);
      this.#forgetRemovedSubject.run(id, digest);
      for (const tag of tags) {
        this.#release.run(now, id, id, tag);
        this.#setTag.run(id, tag, digest, now);
      }
      return missing;
    });
  }

  /** Removes a tag; false if there is none. */
  removeTag(repository: string, tag: string): boolean {
    return this.#database.transaction(() => {
      const id = this.#repositories.find(repository);
      if (id === undefined) return false;
      this.#release.run(Date.now(), id, id, tag);
      return this.#deleteTag.run(id, tag).changes > 0;
    });
  }

  /** Removes a manifest and the tags that point at it; false if there is none. */
  remove(repository: string, digest: Digest): boolean {
    return this.#database.transaction(() => {
      const id = this.#repositories.find(repository);
      return id !== undefined && this.#removal.run(id, digest, Date.now());
    });
  }

  #missing(repository: string, facts: ManifestFacts): Digest[] {
    const id = this.#repositories.find(repository);
    const isNoBlob = (digest: Digest): boolean =>
      this.#blobs.find(repository, digest) === undefined;
    const isNoManifest = (digest: Digest): boolean =>
      id === undefined || this.#has.get(id, digest) === undefined;
    // Build caches are indexes that list layers, so an index's entry may be either.
    return [
      ...facts.blobs.filter(isNoBlob),
      ...facts.manifests.filter((digest) => isNoManifest(digest) && isNoBlob(digest)),
    ];
  }
}

function stored(row: ManifestRow | undefined): StoredManifest | undefined {
  return row && { digest: row.digest, mediaType: row.media_type, bytes: row.bytes };
}
