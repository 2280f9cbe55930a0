import type { Digest } from "@soci-ts/core";
import type { Database, Statement } from "@soci-ts/sqlite";
import { MAX_REMEMBERED_LENGTH, MAX_REMEMBERED_LISTS } from "./limits.ts";
import type { Visit } from "./visit.ts";

/** What a tag pointed at, and when the upstream said so. */
export interface KnownTag {
  readonly digest: Digest;
  readonly checked_ms: number;
}

/** What was learnt from upstreams besides content. Every method is one step. */
export class Records {
  readonly #isLinked: Statement<unknown>;
  readonly #link: Statement<unknown>;
  readonly #unlink: Statement<unknown>;
  readonly #tag: Statement<KnownTag>;
  readonly #setTag: Statement<unknown>;
  readonly #deleteTag: Statement<unknown>;
  readonly #referrers: Statement<{ entries: string }>;
  readonly #setReferrers: Statement<{ id: number }>;
  readonly #dropReferrers: Statement<unknown>;
  readonly #isOpen: Statement<unknown>;
  readonly #setOpen: Statement<unknown>;
  readonly #setClosed: Statement<unknown>;

  constructor(database: Database) {
    const place = "WHERE upstream = ? AND repository = ?";
    this.#isLinked = database.prepare(`SELECT 1 FROM link ${place} AND digest = ?`);
    this.#link = database.prepare(
      `INSERT INTO link (upstream, repository, digest)
       SELECT ?, ?, digest FROM entry WHERE digest = ? ON CONFLICT DO NOTHING`,
    );
    this.#unlink = database.prepare(`DELETE FROM link ${place} AND digest = ?`);
    this.#tag = database.prepare(`SELECT digest, checked_ms FROM tag ${place} AND name = ?`);
    this.#setTag = database.prepare(
      `INSERT INTO tag (upstream, repository, name, digest, checked_ms) VALUES (?, ?, ?, ?, ?)
       ON CONFLICT DO UPDATE SET digest = excluded.digest, checked_ms = excluded.checked_ms`,
    );
    this.#deleteTag = database.prepare(`DELETE FROM tag ${place} AND name = ?`);
    this.#referrers = database.prepare(`SELECT entries FROM referrers ${place} AND subject = ?`);
    this.#setReferrers = database.prepare(
      `INSERT OR REPLACE INTO referrers (upstream, repository, subject, entries) VALUES (?, ?, ?, ?)
       RETURNING id`,
    );
    this.#dropReferrers = database.prepare("DELETE FROM referrers WHERE id <= ?");
    this.#isOpen = database.prepare(`SELECT 1 FROM open_repository ${place} AND until_ms > ?`);
    this.#setOpen = database.prepare(
      `INSERT INTO open_repository (upstream, repository, until_ms) VALUES (?, ?, ?)
       ON CONFLICT DO UPDATE SET until_ms = excluded.until_ms`,
    );
    this.#setClosed = database.prepare(`DELETE FROM open_repository ${place}`);
    database.prepare("DELETE FROM open_repository WHERE until_ms < ?").run(Date.now());
    // Tags are noted before what they point at is here, if it ever is.
    database.prepare("DELETE FROM tag WHERE digest NOT IN (SELECT digest FROM entry)").run();
  }

  /** True if the repository is known to have the content. */
  isLinked(visit: Visit, digest: Digest): boolean {
    return this.#isLinked.get(...placeOf(visit), digest) !== undefined;
  }

  /** Notes that the repository has content which is cached; does nothing if it is not. */
  link(visit: Visit, digest: Digest): void {
    if (!this.isLinked(visit, digest)) this.#link.run(...placeOf(visit), digest);
  }

  /** Notes that the repository has it no longer. */
  unlink(visit: Visit, digest: Digest): void {
    this.#unlink.run(...placeOf(visit), digest);
  }

  /** What a tag pointed at when the upstream was asked last. */
  tag(visit: Visit, name: string): KnownTag | undefined {
    return this.#tag.get(...placeOf(visit), name);
  }

  /** Notes what the upstream says that a tag points at. */
  setTag(visit: Visit, name: string, digest: Digest): void {
    const known = this.tag(visit, name);
    // Only the time would change, and each change is written to the disk.
    if (known?.digest === digest && Date.now() - known.checked_ms < 60_000) return;
    this.#setTag.run(...placeOf(visit), name, digest, Date.now());
  }

  /** Notes that the upstream has no such tag. */
  deleteTag(visit: Visit, name: string): void {
    this.#deleteTag.run(...placeOf(visit), name);
  }

  /** The entries that the upstream listed last for a subject, as JSON. */
  referrers(visit: Visit, subject: Digest): string | undefined {
    return this.#referrers.get(...placeOf(visit), subject)?.entries;
  }

  /** Remembers a list; one that is too long stays as it was remembered before. */
  setReferrers(visit: Visit, subject: Digest, entries: string): void {
    if (entries.length > MAX_REMEMBERED_LENGTH) return;
    if (this.referrers(visit, subject) === entries) return;
    const id = this.#setReferrers.get(...placeOf(visit), subject, entries)?.id ?? 0;
    this.#dropReferrers.run(id - MAX_REMEMBERED_LISTS);
  }

  /** True if anybody could read the repository, and that is still believed. */
  isOpen(visit: Visit): boolean {
    return this.#isOpen.get(...placeOf(visit), Date.now()) !== undefined;
  }

  /** Notes until when that is believed; 0: that it is not so. */
  setOpen(visit: Visit, untilMs: number): void {
    if (untilMs === 0) this.#setClosed.run(...placeOf(visit));
    else this.#setOpen.run(...placeOf(visit), untilMs);
  }
}

function placeOf({ upstream, repository }: Visit): [string, string] {
  return [upstream.name, repository];
}
