import type { Digest } from "@soci-ts/core";
import type { Database, Statement } from "@soci-ts/sqlite";
import { ManifestRemoval } from "./removal.ts";

/** Where a walk over digests in repositories is. It begins at {@link FIRST}. */
export interface Cursor {
  readonly repository: number;
  readonly digest: string;
}

/** Before everything. */
export const FIRST: Cursor = { repository: 0, digest: "" };

/** A blob in a repository. */
export interface BlobLink {
  readonly repository: number;
  readonly digest: Digest;
}

/** One step of a walk: how many rows it looked at, what it removed, and where the next step begins; undefined at the end. */
export interface Step<C, R> {
  readonly seen: number;
  readonly removed: readonly R[];
  readonly next: C | undefined;
}

/** A blob that no repository has any more: its file is to be removed. */
export interface ForgottenBlob {
  readonly digest: Digest;
  readonly sizeBytes: number;
}

/** A manifest that was removed. */
export interface RemovedManifest {
  readonly repository: number;
  readonly digest: Digest;
}

/** How far a walk goes in one step, and before when a thing must have been let go of to be removed. */
export interface StepLimits {
  readonly rows: number;
  /** Milliseconds since 1970. */
  readonly cutoffMs: number;
}

/** A subject that was removed. */
export interface RemovedSubject {
  readonly repository: number;
  readonly digest: Digest;
}

type Flagged<T> = T & { readonly garbage: number };

const IS_TAGGED =
  "EXISTS (SELECT 1 FROM tag WHERE tag.repository = m.repository AND tag.digest = m.digest)";
const IS_REFERRED_TO =
  "EXISTS (SELECT 1 FROM reference AS r WHERE r.repository = m.repository AND r.digest = m.digest)";

/**
 * The walks of the garbage collection. Each step looks at a bounded number of rows, also where it removes none, and is one transaction: between its look
 * and its removal nothing is pushed.
 */
export class GarbageTable {
  readonly #database: Database;
  readonly #removal: ManifestRemoval;
  readonly #links: Statement<Flagged<BlobLink>>;
  readonly #unlink: Statement<unknown>;
  readonly #forget: Statement<{ size: number }>;
  readonly #manifests: Statement<Flagged<RemovedManifest & { id: number }>>;
  readonly #subjects: Statement<RemovedSubject>;
  readonly #referrers: Statement<Flagged<RemovedManifest & { id: number }>>;
  readonly #settle: Statement<unknown>;

  constructor(database: Database) {
    this.#database = database;
    this.#removal = new ManifestRemoval(database);
    this.#links = database.prepare(
      `SELECT repository, digest, linked_ms < ? AND NOT EXISTS (
         SELECT 1 FROM reference AS r WHERE r.repository = b.repository AND r.digest = b.digest
       ) AS garbage
       FROM repository_blob AS b WHERE (repository, digest) > (?, ?) ORDER BY repository, digest LIMIT ?`,
    );
    this.#unlink = database.prepare(
      "DELETE FROM repository_blob WHERE repository = ? AND digest = ?",
    );
    this.#forget = database.prepare(
      `DELETE FROM blob WHERE digest = ?
       AND NOT EXISTS (SELECT 1 FROM repository_blob WHERE repository_blob.digest = blob.digest) RETURNING size`,
    );
    this.#manifests = database.prepare(
      `SELECT id, repository, digest, subject IS NULL AND max(created_ms, released_ms) < ?
         AND NOT ${IS_TAGGED} AND NOT ${IS_REFERRED_TO} AS garbage
       FROM manifest AS m WHERE id > ? ORDER BY id LIMIT ?`,
    );
    this.#subjects = database.prepare(
      `SELECT repository, digest FROM removed_subject
       WHERE (repository, digest) > (?, ?) AND removed_ms < ? ORDER BY repository, digest LIMIT 1`,
    );
    this.#referrers = database.prepare(
      `SELECT id, repository, digest, max(created_ms, released_ms) < ?
         AND NOT ${IS_TAGGED} AND NOT ${IS_REFERRED_TO} AS garbage
       FROM manifest AS m WHERE repository = ? AND subject = ? AND id > ? ORDER BY id LIMIT ?`,
    );
    this.#settle = database.prepare(
      `DELETE FROM removed_subject AS s WHERE repository = ? AND digest = ?
       AND NOT EXISTS (SELECT 1 FROM manifest AS m WHERE m.repository = s.repository AND m.subject = s.digest)`,
    );
  }

  /** Takes blobs from repositories in which no manifest refers to them. */
  sweepBlobs(after: Cursor, limits: StepLimits): Step<Cursor, ForgottenBlob> {
    return this.#database.transaction(() => {
      const { repository, digest } = after;
      const page = this.#links.all(limits.cutoffMs, repository, digest, limits.rows);
      const removed: ForgottenBlob[] = [];
      for (const link of garbageIn(page)) {
        this.#unlink.run(link.repository, link.digest);
        const row = this.#forget.get(link.digest);
        if (row !== undefined) removed.push({ digest: link.digest, sizeBytes: row.size });
      }
      return { seen: page.length, removed, next: page.at(-1) };
    });
  }

  /** Removes manifests without a subject that no tag and no index names. */
  sweepUntagged(afterId: number, limits: StepLimits): Step<number, RemovedManifest> {
    return this.#database.transaction(() => {
      const page = this.#manifests.all(limits.cutoffMs, afterId, limits.rows);
      return { seen: page.length, removed: this.#removeGarbage(page), next: page.at(-1)?.id };
    });
  }

  /** The next subject that was removed before the cutoff. */
  nextRemovedSubject(after: Cursor, cutoffMs: number): RemovedSubject | undefined {
    return this.#subjects.get(after.repository, after.digest, cutoffMs);
  }

  /** Removes referrers of a subject that is gone, unless a tag or an index names them. */
  sweepReferrers(
    subject: RemovedSubject,
    afterId: number,
    limits: StepLimits,
  ): Step<number, RemovedManifest> {
    return this.#database.transaction(() => {
      const { repository, digest } = subject;
      const page = this.#referrers.all(limits.cutoffMs, repository, digest, afterId, limits.rows);
      const removed = this.#removeGarbage(page);
      if (page.length < limits.rows) this.#settle.run(repository, digest);
      return { seen: page.length, removed, next: page.at(-1)?.id };
    });
  }

  #removeGarbage(page: readonly Flagged<RemovedManifest>[]): RemovedManifest[] {
    const now = Date.now();
    return garbageIn(page).filter(({ repository, digest }) =>
      this.#removal.run(repository, digest, now),
    );
  }
}

function garbageIn<T>(page: readonly Flagged<T>[]): Flagged<T>[] {
  return page.filter((row) => row.garbage === 1);
}
