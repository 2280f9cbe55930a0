import type { Digest } from "@soci-ts/core";
import type { Database, Statement } from "@soci-ts/sqlite";
import type { RepositoryTable } from "./repositories.ts";

/** A manifest that points at a subject. `annotations` is JSON text. */
export interface ReferrerRow {
  /** Grows with every push: where the next page starts. */
  readonly id: number;
  readonly digest: Digest;
  readonly media_type: string;
  readonly size: number;
  readonly artifact_type: string | null;
  readonly annotations: string | null;
}

/** Which referrers are wanted. */
export interface ReferrerQuery {
  readonly subject: Digest;
  readonly artifactType?: string | undefined;
  /** Only rows with a greater id. */
  readonly afterId: number;
  readonly limit: number;
}

const SELECT_REFERRERS =
  "SELECT id, digest, media_type, size, artifact_type, annotations FROM manifest WHERE repository = ? AND subject = ? AND id > ?";

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
