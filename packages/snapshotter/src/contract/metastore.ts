import { AppError } from "@soci-ts/core";
import type { Database, Statement } from "@soci-ts/sqlite";
import { momentAfterNow } from "./moment.ts";
import { encodeLabels, recordOf, type SnapshotRecord, type SnapshotRow } from "./records.ts";
import { nextState, type SnapshotOperation } from "./states.ts";
import type { Labels, LayerStory, SnapshotKind, UpdateMask, Usage } from "./types.ts";

/** A snapshot that is to be. */
export interface NewSnapshot {
  /** From {@link Metastore.takeId}; left out for what has no directory. */
  readonly id?: number;
  readonly name: string;
  readonly kind: SnapshotKind;
  /** "" for none. */
  readonly parent: string;
  readonly labels: Labels;
  readonly layer?: number | undefined;
  readonly story?: LayerStory | undefined;
}

const SELECT =
  "SELECT s.*, p.name AS parent_name FROM snapshot s LEFT JOIN snapshot p ON p.id = s.parent";
const INSERT = `INSERT INTO snapshot (id, name, kind, parent, labels, created_ms, updated_ms, layer, story)
  VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`;
const COMMIT = `UPDATE snapshot SET name = ?, kind = 'committed', labels = ?, created_ms = ?, updated_ms = ?, size_bytes = ?, inodes = ?
  WHERE id = ?`;
const REF = `json_extract(s.labels, '$."containerd.io/snapshot.ref"')`;
const IMAGE = `json_extract(s.labels, '$."containerd.io/snapshot/cri.image-ref"')`;
/** UNION drops what is there already, so each snapshot is visited once however many stand on it. */
const NEEDED = `WITH RECURSIVE need (id) AS (
    SELECT id FROM snapshot WHERE kind <> 'committed'
    UNION SELECT s.parent FROM snapshot s JOIN need ON s.id = need.id WHERE s.parent IS NOT NULL)
  SELECT DISTINCT layer FROM snapshot JOIN need USING (id) WHERE layer IS NOT NULL`;

/** The snapshots of a node. Every method is one transaction; what can be done when stands in `states.ts`. */
export class Metastore {
  readonly #database: Database;
  readonly #byName: Statement<SnapshotRow>;
  readonly #byId: Statement<SnapshotRow>;
  #lastId: number;

  /** `database` is of `openMetastore` and stays the caller's. */
  constructor(database: Database) {
    this.#database = database;
    this.#byName = database.prepare(`${SELECT} WHERE s.name = ?`);
    this.#byId = database.prepare(`${SELECT} WHERE s.id = ?`);
    const sequence = database.prepare<{ seq: number }>(
      "SELECT seq FROM sqlite_sequence WHERE name = 'snapshot'",
    );
    this.#lastId = sequence.get()?.seq ?? 0;
  }

  /** The number of a snapshot to be, so that its directory can be made before its row is. */
  takeId(): number {
    this.#lastId += 1;
    return this.#lastId;
  }

  /** Leaves out numbers up to `id`: a crash may have left directories that are named for them. */
  skipIds(id: number): void {
    this.#lastId = Math.max(this.#lastId, id);
  }

  /** The snapshot under a name, or `undefined`. */
  find(name: string): SnapshotRecord | undefined {
    const row = this.#byName.get(name);
    return row === undefined ? undefined : recordOf(row);
  }

  /**
   * The snapshot under a name.
   * @throws AppError if `operation` can't be done with it.
   */
  require(name: string, operation: SnapshotOperation): SnapshotRecord {
    const record = this.find(name);
    nextState(operation, record?.kind ?? "absent", name);
    if (record !== undefined) return record;
    throw new AppError("internal", `Cannot find snapshot ${JSON.stringify(name)}: it is absent`);
  }

  /**
   * Looks whether a snapshot could be made.
   * @returns its parent, if it has one.
   * @throws AppError as {@link Metastore.insert} does.
   */
  checkNew({ name, kind, parent }: NewSnapshot): SnapshotRecord | undefined {
    // containerd complains about the parent first.
    const below = parent === "" ? undefined : this.require(parent, "extend");
    nextState(OPERATION_OF[kind], this.find(name)?.kind ?? "absent", name);
    return below;
  }

  /**
   * Makes a snapshot.
   * @throws AppError `already_exists` if the name is taken, `not_found` or `invalid_argument` for the parent.
   */
  insert(snapshot: NewSnapshot): SnapshotRecord {
    return this.#database.transaction(() => {
      const parent = this.checkNew(snapshot);
      const { name, kind, labels, layer, story } = snapshot;
      const now = momentAfterNow();
      const storyText = story === undefined ? null : JSON.stringify(story);
      const id = snapshot.id ?? this.takeId();
      const fixed = [id, name, kind, parent?.id ?? null, encodeLabels(labels)] as const;
      this.#database.prepare(INSERT).run(...fixed, now, now, layer ?? null, storyText);
      return this.require(name, "look");
    });
  }

  /**
   * Makes the active snapshot under `key` a committed one under `name`; its story stays, its labels are replaced.
   * @throws AppError `already_exists` for the name; `not_found` or `failed_precondition` for the key.
   */
  commit(
    key: string,
    name: string,
    { labels, usage }: { readonly labels: Labels; readonly usage: Usage },
  ): SnapshotRecord {
    return this.#database.transaction(() => {
      const { id } = this.checkCommit(key, name);
      const now = momentAfterNow();
      const { sizeBytes, inodes } = usage;
      const text = encodeLabels(labels);
      this.#database.prepare(COMMIT).run(name, text, now, now, sizeBytes, inodes, id);
      return this.require(name, "look");
    });
  }

  /** Looks whether {@link Metastore.commit} could be done; the snapshot under `key`. */
  checkCommit(key: string, name: string): SnapshotRecord {
    const record = this.require(key, "commit");
    nextState("name", this.find(name)?.kind ?? "absent", name);
    return record;
  }

  /**
   * Removes a snapshot's row.
   * @returns what it was.
   * @throws AppError `not_found`; `failed_precondition` while others stand on it.
   */
  remove(key: string): SnapshotRecord {
    return this.#database.transaction(() => {
      const record = this.require(key, "remove");
      const child = this.#database
        .prepare<{ name: string }>("SELECT name FROM snapshot WHERE parent = ? LIMIT 1")
        .get(record.id);
      if (child !== undefined) {
        const message = `Cannot remove snapshot ${JSON.stringify(key)}: it is the parent of ${JSON.stringify(child.name)}, want no children`;
        throw new AppError("failed_precondition", message);
      }
      this.#database.prepare("DELETE FROM snapshot WHERE id = ?").run(record.id);
      return record;
    });
  }

  /**
   * Sets labels; a masked label that is not given, or is empty, goes.
   * @throws AppError `not_found`.
   */
  update(name: string, labels: Labels, mask: UpdateMask): SnapshotRecord {
    return this.#database.transaction(() => {
      const record = this.require(name, "look");
      const text = encodeLabels(mask.kind === "all" ? labels : merged(record.labels, labels, mask));
      this.#database
        .prepare("UPDATE snapshot SET labels = ?, updated_ms = ? WHERE id = ?")
        .run(text, momentAfterNow(), record.id);
      return this.require(name, "look");
    });
  }

  /** The snapshot under `top` and all below it, bottom first. */
  chain(top: SnapshotRecord | undefined): readonly SnapshotRecord[] {
    const records: SnapshotRecord[] = [];
    for (let at = top; at !== undefined; ) {
      records.push(at);
      const row = at.parentId === undefined ? undefined : this.#byId.get(at.parentId);
      at = row === undefined ? undefined : recordOf(row);
    }
    return records.reverse();
  }

  /** A committed snapshot that carries this `containerd.io/snapshot.ref` and stands on this parent. */
  findCommitted(chainId: string, parentId: number | undefined): SnapshotRecord | undefined {
    const row = this.#database
      .prepare<SnapshotRow>(
        `${SELECT} WHERE ${REF} = ? AND s.kind = 'committed' AND s.parent IS ? ORDER BY s.id LIMIT 1`,
      )
      .get(chainId, parentId ?? null);
    return row === undefined ? undefined : recordOf(row);
  }

  /** Snapshots that were asked for under an image's name, oldest first. */
  findByImage(imageReference: string): readonly SnapshotRecord[] {
    const told = "json_extract(s.story, '$.imageReference')";
    return this.#database
      .prepare<SnapshotRow>(`${SELECT} WHERE ${IMAGE} = ? OR ${told} = ? ORDER BY s.id`)
      .all(imageReference, imageReference)
      .map(recordOf);
  }

  /** Snapshots that came of a Prepare for an image layer, oldest first. */
  imageLayers(): readonly SnapshotRecord[] {
    return this.#database
      .prepare<SnapshotRow>(`${SELECT} WHERE s.story IS NOT NULL ORDER BY s.id`)
      .all()
      .map(recordOf);
  }

  /** Active snapshots and views, oldest first. */
  open(): readonly SnapshotRecord[] {
    return this.#database
      .prepare<SnapshotRow>(`${SELECT} WHERE s.kind <> 'committed' ORDER BY s.id`)
      .all()
      .map(recordOf);
  }

  /** How many snapshots there are of each kind. */
  countByKind(): Readonly<Record<SnapshotKind, number>> {
    const sql = "SELECT kind, count(*) AS n FROM snapshot GROUP BY kind";
    const rows = this.#database.prepare<{ kind: SnapshotKind; n: number }>(sql).all();
    const counts = { active: 0, view: 0, committed: 0 };
    for (const { kind, n } of rows) counts[kind] = n;
    return counts;
  }

  /** Up to `limit` snapshots with numbers above `afterId`, in order; if `chainId` is given, those that carry this `containerd.io/snapshot.ref`. */
  page(afterId: number, limit: number, chainId?: string): readonly SnapshotRecord[] {
    const rows =
      chainId === undefined
        ? this.#database
            .prepare<SnapshotRow>(`${SELECT} WHERE s.id > ? ORDER BY s.id LIMIT ?`)
            .all(afterId, limit)
        : this.#database
            .prepare<SnapshotRow>(`${SELECT} WHERE ${REF} = ? AND s.id > ? ORDER BY s.id LIMIT ?`)
            .all(chainId, afterId, limit);
    return rows.map(recordOf);
  }

  /** Lazy layers that active snapshots and views stand on. */
  neededLayers(): ReadonlySet<number> {
    const rows = this.#database.prepare<{ layer: number }>(NEEDED).all();
    return new Set(rows.map(({ layer }) => layer));
  }

  /** True if a snapshot is this lazy layer. */
  hasLayer(layer: number): boolean {
    const sql = "SELECT 1 FROM snapshot WHERE layer = ? LIMIT 1";
    return this.#database.prepare(sql).get(layer) !== undefined;
  }

  /** All lazy layers that snapshots are. */
  layers(): ReadonlySet<number> {
    const sql = "SELECT DISTINCT layer FROM snapshot WHERE layer IS NOT NULL";
    const rows = this.#database.prepare<{ layer: number }>(sql).all();
    return new Set(rows.map(({ layer }) => layer));
  }

  /** True if a snapshot has this number. */
  hasId(id: number): boolean {
    return this.#byId.get(id) !== undefined;
  }
}

const OPERATION_OF: Readonly<Record<SnapshotKind, SnapshotOperation>> = {
  active: "prepare",
  view: "view",
  committed: "name",
};

function merged(old: Labels, given: Labels, mask: { readonly keys: readonly string[] }): Labels {
  const labels = new Map(Object.entries(old));
  for (const key of mask.keys) labels.set(key, Object.hasOwn(given, key) ? (given[key] ?? "") : "");
  return Object.fromEntries(labels);
}
