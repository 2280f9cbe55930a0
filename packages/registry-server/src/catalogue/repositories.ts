import type { Database, Statement } from "@soci-ts/sqlite";

/** Names of repositories and their row ids. */
export class RepositoryTable {
  readonly #find: Statement<{ id: number }>;
  readonly #insert: Statement<{ id: number }>;

  constructor(database: Database) {
    this.#find = database.prepare("SELECT id FROM repository WHERE name = ?");
    this.#insert = database.prepare("INSERT INTO repository (name) VALUES (?) RETURNING id");
  }

  /** The id, or undefined if nothing was ever pushed there. */
  find(name: string): number | undefined {
    return this.#find.get(name)?.id;
  }

  /** The id of a repository that is made if need be; call it inside a transaction. */
  ensure(name: string): number {
    const id = this.find(name) ?? this.#insert.get(name)?.id;
    if (id === undefined) throw new Error("INSERT … RETURNING gave no row");
    return id;
  }
}
