import type { Digest } from "@soci-ts/core";
import type { Database } from "@soci-ts/sqlite";
import { createOwnerName, forgetDeadOwners, ownerState } from "./process-owner.ts";

/**
 * Which living process still needs a blob that no index names yet. A hold is taken before the blob's file is looked at or
 * written, in a transaction of its own, and a blob is only deleted inside a write transaction that sees no hold on it: so a process never
 * loses a blob between writing and naming it.
 */
export class Holds {
  readonly #database: Database;
  readonly #owner = createOwnerName();
  readonly #counts = new Map<Digest, number>();

  constructor(database: Database) {
    this.#database = database;
  }

  /** Holds `digest` once more. */
  take(digest: Digest): void {
    const count = this.#counts.get(digest) ?? 0;
    this.#counts.set(digest, count + 1);
    if (count > 0) return;
    this.#database.prepare("INSERT OR IGNORE INTO hold VALUES (?, ?)").run(digest, this.#owner);
  }

  /** Lets go of `digest` once. */
  drop(digest: Digest): void {
    const count = this.#counts.get(digest) ?? 0;
    if (count > 1) {
      this.#counts.set(digest, count - 1);
      return;
    }
    if (!this.#counts.delete(digest)) return;
    this.#database
      .prepare("DELETE FROM hold WHERE digest = ? AND owner = ?")
      .run(digest, this.#owner);
  }

  /** Lets go of everything. */
  dropAll(): void {
    this.#counts.clear();
    this.#database.prepare("DELETE FROM hold WHERE owner = ?").run(this.#owner);
  }

  /** True if a process that may be alive holds `digest`. */
  isHeld(digest: Digest): boolean {
    return this.#database
      .prepare<{ owner: string }>("SELECT owner FROM hold WHERE digest = ?")
      .all(digest)
      .some(({ owner }) => ownerState(owner) !== "gone");
  }

  /** Deletes the holds of processes that have ended. */
  forgetDead(): void {
    forgetDeadOwners(this.#database, "hold");
  }
}
