import { randomUUID } from "node:crypto";
import { AppError, type Digest, type Logger } from "@soci-ts/core";
import { type Database, openOrReplaceDatabase } from "@soci-ts/sqlite";
import type { LayerStory } from "../contract/types.ts";
import { MAX_SLOTS } from "../node-ids.ts";

/** What a layer was made for: a second pull of the same finds it here. */
export interface LayerUse {
  /** `HOST/PATH`: a layer that one repository's index describes must not reach another's images. */
  readonly repository: string;
  readonly manifestDigest: Digest;
  readonly chainId: string;
  /** The trust policy, as text, under which its index was chosen. */
  readonly policy: string;
}

/** A use that nothing asked for in this time is forgotten. */
const USE_MEMORY_MS = 30 * 86_400_000;

/** Times of uses are kept no more exactly than this: asking for a layer does not write each time. */
const USE_GRAIN_MS = 86_400_000;

/** A story as it is kept, with the time when it was last asked for; those of earlier versions have none. */
type KeptStory = LayerStory & { readonly notedAtMs?: number };

/** A layer of this node. */
export interface KnownLayer {
  readonly layer: number;
  readonly story: LayerStory;
}

/** The schema of `layers.db`, oldest first. Entries are never changed. */
export const LAYER_TABLE_MIGRATIONS: readonly string[] = [
  `CREATE TABLE layer (
     id INTEGER PRIMARY KEY AUTOINCREMENT,
     identity TEXT NOT NULL UNIQUE,
     digest TEXT NOT NULL
   ) STRICT;
   CREATE TABLE device (
     layer INTEGER NOT NULL REFERENCES layer (id) ON DELETE CASCADE,
     needs INTEGER NOT NULL REFERENCES layer (id),
     PRIMARY KEY (layer, needs)
   ) STRICT, WITHOUT ROWID;
   CREATE TABLE use (
     repository TEXT NOT NULL,
     manifest TEXT NOT NULL,
     chain TEXT NOT NULL,
     policy TEXT NOT NULL,
     layer INTEGER NOT NULL REFERENCES layer (id) ON DELETE CASCADE,
     story TEXT NOT NULL,
     PRIMARY KEY (repository, manifest, chain, policy)
   ) STRICT, WITHOUT ROWID;
   CREATE INDEX use_layer ON use (layer);`,
];

/**
 * Which layers this node has. A layer's number is its FUSE slot: the kernel may hold it long after the layer is gone, so a number is
 * never given twice. Life: *added* (its directory is in place before) → found by identity or by use → *removed*, when no snapshot and
 * no layer's devices need it.
 */
export class LayerTable implements Disposable {
  readonly #database: Database;

  /** One that is damaged is set aside: layers that snapshots have are still found by their directories. */
  constructor(path: string, options: { readonly logger?: Logger } = {}) {
    const migrations = LAYER_TABLE_MIGRATIONS;
    this.#database = openOrReplaceDatabase(path, { migrations, ...options });
  }

  /** Leaves numbers up to this one out: a table that was lost, or is older than the directories, must not give one of theirs to another layer. */
  skipNumbers(last: number): void {
    this.#database.transaction(() => {
      const insert =
        "INSERT INTO sqlite_sequence SELECT 'layer', 0 WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = 'layer')";
      this.#database.prepare(insert).run();
      const update = "UPDATE sqlite_sequence SET seq = max(seq, ?) WHERE name = 'layer'";
      this.#database.prepare(update).run(last);
    });
  }

  /** The layer with this identity, if there is one. */
  find(identity: string): number | undefined {
    return this.#database
      .prepare<{ id: number }>("SELECT id FROM layer WHERE identity = ?")
      .get(identity)?.id;
  }

  /**
   * A number for a new layer; the layer counts only when {@link LayerTable.add} has been called.
   * @throws AppError `resource_exhausted` if there are none left.
   */
  nextNumber(): number {
    const row = this.#database
      .prepare<{ id: number }>("INSERT INTO layer (identity, digest) VALUES (?, '') RETURNING id")
      .get(`pending ${randomUUID()}`);
    if (row === undefined) {
      throw new AppError("internal", "Cannot number a layer: no row came back");
    }
    if (row.id < MAX_SLOTS) return row.id;
    const state = `this root has had ${MAX_SLOTS} layers, want a new root`;
    throw new AppError("resource_exhausted", `Cannot number a layer: ${state}`);
  }

  /** Makes a numbered layer count. */
  add(layer: number, identity: string, digest: Digest, needs: readonly number[]): void {
    this.#database.transaction(() => {
      this.#database
        .prepare("UPDATE layer SET identity = ?, digest = ? WHERE id = ?")
        .run(identity, digest, layer);
      const insert = this.#database.prepare("INSERT OR IGNORE INTO device VALUES (?, ?)");
      for (const other of needs) if (other !== layer) insert.run(layer, other);
    });
  }

  /** Notes what a layer was made for. */
  note(use: LayerUse, { layer, story }: KnownLayer): void {
    this.#database
      .prepare("INSERT OR REPLACE INTO use VALUES (?, ?, ?, ?, ?, ?)")
      .run(
        use.repository,
        use.manifestDigest,
        use.chainId,
        use.policy,
        layer,
        JSON.stringify({ ...story, notedAtMs: Date.now() } satisfies KeptStory),
      );
  }

  /** The layer that was made for this, if it is still there. */
  findUse(use: LayerUse): KnownLayer | undefined {
    const row = this.#database
      .prepare<{ layer: number; story: string }>(
        "SELECT layer, story FROM use WHERE repository = ? AND manifest = ? AND chain = ? AND policy = ?",
      )
      .get(use.repository, use.manifestDigest, use.chainId, use.policy);
    if (row === undefined) return undefined;
    const { notedAtMs = 0, ...story } = JSON.parse(row.story) as KeptStory;
    const known = { layer: row.layer, story };
    if (Date.now() - notedAtMs > USE_GRAIN_MS) this.note(use, known);
    return known;
  }

  /** Forgets what nobody has asked for in 30 days, and what is of no layer. @returns how many records went. */
  forgetOldUses(nowMs: number = Date.now()): number {
    return this.#database.transaction(() => {
      // Those of earlier versions begin to age now.
      this.#database
        .prepare(
          "UPDATE use SET story = json_set(story, '$.notedAtMs', ?) WHERE json_extract(story, '$.notedAtMs') IS NULL",
        )
        .run(nowMs);
      return this.#database
        .prepare(
          "DELETE FROM use WHERE json_extract(story, '$.notedAtMs') < ? OR layer NOT IN (SELECT id FROM layer)",
        )
        .run(nowMs - USE_MEMORY_MS).changes;
    });
  }

  /** Blobs that there are layers of. */
  digests(): ReadonlySet<Digest> {
    const rows = this.#database
      .prepare<{ digest: Digest }>("SELECT DISTINCT digest FROM layer WHERE digest <> ''")
      .all();
    return new Set(rows.map(({ digest }) => digest));
  }

  /** What a layer was made for. */
  usesOf(layer: number): readonly { readonly chainId: string; readonly story: LayerStory }[] {
    const rows = this.#database
      .prepare<{ chain: string; story: string }>("SELECT chain, story FROM use WHERE layer = ?")
      .all(layer);
    return rows.map((row) => {
      const { notedAtMs: _, ...story } = JSON.parse(row.story) as KeptStory;
      return { chainId: row.chain, story };
    });
  }

  /** Whether there is a layer of this number, and it counts. */
  isPlaced(layer: number): boolean {
    const row = this.#database
      .prepare("SELECT 1 AS yes FROM layer WHERE id = ? AND digest <> ''")
      .get(layer);
    return row !== undefined;
  }

  /** All layers, half-made ones included, the newest first: what is needed by another comes after it. */
  all(): readonly number[] {
    return this.#database
      .prepare<{ id: number }>("SELECT id FROM layer ORDER BY id DESC")
      .all()
      .map(({ id }) => id);
  }

  /** How many layers have this blob. */
  countOf(digest: Digest): number {
    return (
      this.#database
        .prepare<{ n: number }>("SELECT count(*) AS n FROM layer WHERE digest = ?")
        .get(digest)?.n ?? 0
    );
  }

  /** Forgets a layer; false if another one's devices need it. */
  remove(layer: number): boolean {
    return this.#database.transaction(() => {
      const needed = this.#database
        .prepare("SELECT 1 AS yes FROM device WHERE needs = ? LIMIT 1")
        .get(layer);
      if (needed !== undefined) return false;
      this.#database.prepare("DELETE FROM layer WHERE id = ?").run(layer);
      return true;
    });
  }

  [Symbol.dispose](): void {
    this.#database.close();
  }
}
