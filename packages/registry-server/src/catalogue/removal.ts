import type { Digest } from "@soci-ts/core";
import type { Database, Statement } from "@soci-ts/sqlite";

/** What removing a manifest means for everything around it. */
export class ManifestRemoval {
  readonly #find: Statement<{ id: number }>;
  readonly #deleteTags: Statement<unknown>;
  readonly #renewBlobs: Statement<unknown>;
  readonly #releaseEntries: Statement<unknown>;
  readonly #rememberSubject: Statement<unknown>;
  readonly #delete: Statement<unknown>;
  readonly #deleteUnusedContent: Statement<unknown>;

  constructor(database: Database) {
    this.#find = database.prepare("SELECT id FROM manifest WHERE repository = ? AND digest = ?");
    this.#deleteTags = database.prepare("DELETE FROM tag WHERE repository = ? AND digest = ?");
    this.#renewBlobs = database.prepare(
      `UPDATE repository_blob SET linked_ms = ? WHERE repository = ?
       AND digest IN (SELECT digest FROM reference WHERE manifest = ?)`,
    );
    this.#releaseEntries = database.prepare(
      `UPDATE manifest SET released_ms = ? WHERE repository = ?
       AND digest IN (SELECT digest FROM reference WHERE manifest = ?)`,
    );
    this.#rememberSubject = database.prepare(
      `INSERT INTO removed_subject (repository, digest, removed_ms)
       SELECT repository, subject, ? FROM manifest WHERE repository = ? AND subject = ? LIMIT 1
       ON CONFLICT DO UPDATE SET removed_ms = excluded.removed_ms`,
    );
    this.#delete = database.prepare("DELETE FROM manifest WHERE id = ?");
    this.#deleteUnusedContent = database.prepare(
      `DELETE FROM content WHERE digest = ?
       AND NOT EXISTS (SELECT 1 FROM manifest WHERE manifest.digest = content.digest)`,
    );
  }

  /**
   * Removes a manifest and its tags; false if there is none. What it referred to begins its grace time now, and its referrers are remembered as those of a
   * subject that is gone. Call it inside a transaction.
   */
  run(repository: number, digest: Digest, now: number): boolean {
    const id = this.#find.get(repository, digest)?.id;
    if (id === undefined) return false;
    this.#deleteTags.run(repository, digest);
    this.#renewBlobs.run(now, repository, id);
    this.#releaseEntries.run(now, repository, id);
    // Its references go with it: ON DELETE CASCADE.
    this.#delete.run(id);
    this.#deleteUnusedContent.run(digest);
    this.#rememberSubject.run(now, repository, digest);
    return true;
  }
}
