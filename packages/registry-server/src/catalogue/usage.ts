import type { Digest } from "@soci-ts/core";
import type { Database, Statement } from "@soci-ts/sqlite";

/** How much repositories hold, and which of them hold a blob. */
export class UsageTable {
  readonly #used: Statement<{ bytes: number }>;
  readonly #size: Statement<{ size: number }>;
  readonly #holders: Statement<{ name: string }>;

  constructor(database: Database) {
    this.#used = database.prepare(
      `SELECT
         (SELECT coalesce(sum(size), 0) FROM repository_blob JOIN blob USING (digest) WHERE repository = owner.id) +
         (SELECT coalesce(sum(size), 0) FROM manifest WHERE repository = owner.id) AS bytes
       FROM repository AS owner WHERE name = ?`,
    );
    this.#size = database.prepare("SELECT size FROM blob WHERE digest = ?");
    this.#holders = database.prepare(
      `SELECT name FROM repository_blob JOIN repository ON repository.id = repository
       WHERE digest = ? ORDER BY name LIMIT ?`,
    );
  }

  /** Bytes of a repository's blobs and manifests; a blob that others have too counts in full. */
  usedBytes(repository: string): number {
    return this.#used.get(repository)?.bytes ?? 0;
  }

  /** A blob's size, whoever has it. */
  blobSize(digest: Digest): number | undefined {
    return this.#size.get(digest)?.size;
  }

  /** Repositories that have a blob, at most `limit`, by name. */
  holders(digest: Digest, limit: number): readonly string[] {
    return this.#holders.all(digest, limit).map(({ name }) => name);
  }
}
