import type { Digest } from "@soci-ts/core";
import type { Database, Statement } from "@soci-ts/sqlite";
import type { RepositoryTable } from "./repositories.ts";

/** A manifest that points at a subject. */
export interface ReferrerRow {
  /** Grows with every push: where the next page starts. */
  readonly id: number;
  /** The manifest's descriptor, with its artifact type and annotations, as JSON text. */
  readonly descriptor: string;
}

/** Which referrers are wanted. */
export interface ReferrerQuery {
  readonly subject: Digest;
  readonly artifactType?: string | undefined;
  /** Only rows with a greater id. */
  readonly afterId: number;
  readonly limit: number;
}

/** SQLite writes the JSON: a row of two columns costs half as much as one of six that JavaScript puts together, and annotations are JSON text already. */
const SELECT_REFERRERS = `SELECT id, '{"mediaType":' || json_quote(media_type) || ',"digest":"' || digest || '","size":' || size
   || CASE WHEN artifact_type IS NULL THEN '' ELSE ',"artifactType":' || json_quote(artifact_type) END
   || CASE WHEN annotations IS NULL THEN '' ELSE ',"annotations":' || annotations END || '}' AS descriptor
 FROM manifest WHERE repository = ? AND subject = ? AND id > ?`;

/** Pages of tags and of referrers; each costs an index seek and the rows it returns. */
export class Listings {
  readonly #repositories: RepositoryTable;
  readonly #tags: Statement<{ name: string }>;
  readonly #referrers: Statement<ReferrerRow>;
  readonly #referrersOfType: Statement<ReferrerRow>;

  constructor(database: Database, repositories: RepositoryTable) {
    this.#repositories = repositories;
    this.#tags = database.prepare(
      "SELECT name FROM tag WHERE repository = ? AND name > ? ORDER BY name LIMIT ?",
    );
    this.#referrers = database.prepare(`${SELECT_REFERRERS} ORDER BY id LIMIT ?`);
    this.#referrersOfType = database.prepare(
      `${SELECT_REFERRERS} AND artifact_type = ? ORDER BY id LIMIT ?`,
    );
  }

  /** Tags after `last` in the order of their bytes; undefined if there is no such repository. */
  tags(repository: string, last: string, limit: number): string[] | undefined {
    const id = this.#repositories.find(repository);
    if (id === undefined) return undefined;
    return this.#tags.all(id, last, limit).map((row) => row.name);
  }

  /** Referrers in the order of their pushes; none if there is no such repository. */
  referrers(repository: string, query: ReferrerQuery): ReferrerRow[] {
    const id = this.#repositories.find(repository);
    if (id === undefined) return [];
    const { subject, artifactType, afterId, limit } = query;
    return artifactType === undefined
      ? this.#referrers.all(id, subject, afterId, limit)
      : this.#referrersOfType.all(id, subject, afterId, artifactType, limit);
  }
}
