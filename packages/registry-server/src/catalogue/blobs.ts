import type { Digest } from "@soci-ts/core";
import type { Database, Statement } from "@soci-ts/sqlite";
import { RENEWAL_INTERVAL_MS } from "../limits.ts";
import type { RepositoryTable } from "./repositories.ts";

/** Which blobs exist, and in which repositories. Every method is one step: nobody sees half of it. */
export class BlobTable {
  readonly #database: Database;
  readonly #repositories: RepositoryTable;
  readonly #exists: Statement<{ size: number }>;
  readonly #linked: Statement<{ size: number }>;
  readonly #insert: Statement<unknown>;
  readonly #link: Statement<unknown>;
  readonly #renew: Statement<unknown>;
  readonly #isUnreferenced: Statement<unknown>;
  readonly #unlink: Statement<unknown>;
  readonly #deleteUnlinked: Statement<unknown>;

  constructor(database: Database, repositories: RepositoryTable) {
    this.#database = database;
    this.#repositories = repositories;
    this.#exists = database.prepare("SELECT size FROM blob WHERE digest = ?");
    this.#linked = database.prepare(
      `SELECT size FROM repository_blob JOIN blob USING (digest)
       WHERE repository = (SELECT id FROM repository WHERE name = ?) AND digest = ?`,
    );
    this.#insert = database.prepare(
      "INSERT INTO blob (digest, size, created_ms) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
    );
    this.#link = database.prepare(
      `INSERT INTO repository_blob (repository, digest, linked_ms) VALUES (?, ?, ?)
       ON CONFLICT DO UPDATE SET linked_ms = excluded.linked_ms`,
    );
    this.#renew = database.prepare(
      "UPDATE repository_blob SET linked_ms = ? WHERE repository = ? AND digest = ?",
    );
    this.#isUnreferenced = database.prepare(
      `SELECT 1 FROM repository_blob AS link WHERE repository = ? AND digest = ? AND linked_ms < ?
       AND NOT EXISTS (SELECT 1 FROM reference WHERE reference.repository = link.repository AND reference.digest = link.digest)`,
    );
    this.#unlink = database.prepare(
      "DELETE FROM repository_blob WHERE repository = (SELECT id FROM repository WHERE name = ?) AND digest = ?",
    );
    this.#deleteUnlinked = database.prepare(
      `DELETE FROM blob WHERE digest = ?
       AND NOT EXISTS (SELECT 1 FROM repository_blob WHERE repository_blob.digest = blob.digest)`,
    );
  }

  /** The size in bytes of a blob that the repository has. */
  find(repository: string, digest: Digest): number | undefined {
    return this.#linked.get(repository, digest)?.size;
  }

  /** True if any repository has the blob. */
  exists(digest: Digest): boolean {
    return this.#exists.get(digest) !== undefined;
  }

  /**
   * A client was told that the blob is there and may push a manifest that needs it: if nothing refers to it yet, its grace time begins anew. Costs a
   * commit at most once in {@link RENEWAL_INTERVAL_MS} for each blob, and none for a blob that a manifest refers to.
   */
  renew(repository: string, digest: Digest, now: number = Date.now()): void {
    const id = this.#repositories.find(repository);
    if (id === undefined) return;
    if (this.#isUnreferenced.get(id, digest, now - RENEWAL_INTERVAL_MS) === undefined) return;
    this.#renew.run(now, id, digest);
  }

  /** Records a blob whose file is in place, and gives it to the repository. Idempotent. */
  add(repository: string, digest: Digest, sizeBytes: number): void {
    this.#database.transaction(() => {
      const now = Date.now();
      this.#insert.run(digest, sizeBytes, now);
      this.#link.run(this.#repositories.ensure(repository), digest, now);
    });
  }

  /** Gives `to` a blob that `from` has (or, without `from`, any repository). False if there is none. */
  mount(digest: Digest, to: string, from?: string): boolean {
    return this.#database.transaction(() => {
      const found =
        from === undefined ? this.exists(digest) : this.find(from, digest) !== undefined;
      if (found) this.#link.run(this.#repositories.ensure(to), digest, Date.now());
      return found;
    });
  }

  /** Takes a blob from a repository. `forgotten` means that no repository has it any more: its file is to be removed. */
  remove(repository: string, digest: Digest): "absent" | "kept" | "forgotten" {
    return this.#database.transaction(() => {
      if (this.#unlink.run(repository, digest).changes === 0) return "absent";
      return this.#deleteUnlinked.run(digest).changes === 0 ? "kept" : "forgotten";
    });
  }
}
