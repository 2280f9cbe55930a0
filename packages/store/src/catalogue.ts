import { type Digest, parseDigest } from "@soci-ts/core";
import { MEDIA_TYPE_SOCI_PREFETCH, type Platform } from "@soci-ts/oci";
import type { Database, SqlValue } from "@soci-ts/sqlite";
import type { IndexFilter, IndexRecord, ZtocRecord } from "./types.ts";

interface IndexRow {
  readonly digest: string;
  readonly manifest_digest: string;
  readonly reference: string;
  readonly platform: string;
  readonly artifact_type: string;
  readonly size_bytes: number;
  readonly created_at_ms: number;
}

interface ZtocRow {
  readonly digest: string;
  readonly size_bytes: number;
  readonly layer_digest: string;
  readonly layer_media_type: string;
  readonly span_size_bytes: number;
  readonly is_taken: number;
}

/**
 * Prefetch lists are rows among the ztocs, told apart by what stands for the layer's media type: earlier versions keep and delete their blobs
 * with the index, too, and need no migration to be turned back from.
 */
const IS_PREFETCH = `z.layer_media_type = '${MEDIA_TYPE_SOCI_PREFETCH}'`;

/** True of a row of `index_ztoc` whose ztoc was taken from a registry. */
const IS_TAKEN =
  "EXISTS (SELECT 1 FROM taken_ztoc t WHERE t.index_digest = z.index_digest AND t.digest = z.digest)";

const ZTOC_COLUMNS = `z.digest, z.size_bytes, z.layer_digest, z.layer_media_type, z.span_size_bytes, ${IS_TAKEN} AS is_taken`;

/** Rows of indexes and their ztocs. Its methods read and write rows; transactions and blobs are the store's affair. */
export class Catalogue {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  /** Adds or refreshes an index. Call inside a transaction. */
  insert(index: IndexRecord): void {
    const { digest } = index;
    this.#run(
      `INSERT INTO soci_index VALUES (?, ?, ?, ?, ?, ?)
       ON CONFLICT (digest) DO UPDATE SET created_at_ms = excluded.created_at_ms`,
      digest,
      index.manifestDigest,
      JSON.stringify(index.platform),
      index.artifactType,
      index.sizeBytes,
      index.createdAt.getTime(),
    );
    // REPLACE gives the row a new, higher position: the reference becomes the last one.
    this.#run(
      "INSERT OR REPLACE INTO index_reference (index_digest, reference) VALUES (?, ?)",
      digest,
      index.reference,
    );
    this.#run("DELETE FROM index_ztoc WHERE index_digest = ?", digest);
    const insertZtoc = this.#database.prepare(
      "INSERT INTO index_ztoc VALUES (?, ?, ?, ?, ?, ?, ?)",
    );
    const lists = (index.prefetchLists ?? []).map((list) => ({
      ...list,
      layerMediaType: MEDIA_TYPE_SOCI_PREFETCH,
      spanSizeBytes: 0,
    }));
    for (const [position, ztoc] of [...index.ztocs, ...lists].entries()) {
      const { sizeBytes, layerDigest, layerMediaType, spanSizeBytes } = ztoc;
      insertZtoc.run(
        digest,
        position,
        ztoc.digest,
        sizeBytes,
        layerDigest,
        layerMediaType,
        spanSizeBytes,
      );
    }
    this.#run("DELETE FROM taken_ztoc WHERE index_digest = ?", digest);
    for (const ztoc of index.ztocs) {
      if (ztoc.builtHere !== false) continue;
      this.#run("INSERT OR IGNORE INTO taken_ztoc VALUES (?, ?)", digest, ztoc.digest);
    }
  }

  /** Deletes an index with its references and ztoc rows; false if there is none. */
  delete(digest: Digest): boolean {
    return this.#run("DELETE FROM soci_index WHERE digest = ?", digest) > 0;
  }

  list(filter: IndexFilter & { readonly digest?: Digest }): IndexRecord[] {
    const conditions = ["TRUE"];
    const values: SqlValue[] = [];
    const match = (column: string, value: string | undefined): void => {
      if (value === undefined) return;
      conditions.push(`${column} = ?`);
      values.push(value);
    };
    match("i.digest", filter.digest);
    match("i.manifest_digest", filter.manifestDigest);
    match("r.reference", filter.reference);
    const rows = this.#database
      .prepare<IndexRow>(
        `SELECT i.*, r.reference FROM soci_index i JOIN index_reference r ON r.index_digest = i.digest
         WHERE ${conditions.join(" AND ")} ORDER BY i.created_at_ms DESC, i.digest, r.position DESC`,
      )
      .all(...values);
    return rows.map((row) => this.#indexOf(row));
  }

  ztocs(): ZtocRecord[] {
    return this.#ztocs(`index_ztoc z WHERE NOT ${IS_PREFETCH} GROUP BY z.digest ORDER BY z.digest`);
  }

  ztoc(digest: Digest): ZtocRecord | undefined {
    return this.#ztocs(`index_ztoc z WHERE z.digest = ? AND NOT ${IS_PREFETCH} LIMIT 1`, digest)[0];
  }

  findZtoc(layerDigest: Digest, spanSizeBytes: number): ZtocRecord | undefined {
    return this.#ztocs(
      `index_ztoc z JOIN soci_index i ON i.digest = z.index_digest
       WHERE z.layer_digest = ? AND z.span_size_bytes = ? AND NOT ${IS_TAKEN} AND NOT ${IS_PREFETCH}
       ORDER BY i.created_at_ms DESC, z.digest LIMIT 1`,
      layerDigest,
      spanSizeBytes,
    )[0];
  }

  /** True if an index has this digest or names a ztoc that has it. */
  isNamed(digest: Digest): boolean {
    const row = this.#database
      .prepare(
        `SELECT 1 FROM soci_index WHERE digest = ?
         UNION ALL SELECT 1 FROM index_ztoc WHERE digest = ? LIMIT 1`,
      )
      .get(digest, digest);
    return row !== undefined;
  }

  #ztocs(from: string, ...values: SqlValue[]): ZtocRecord[] {
    return this.#database
      .prepare<ZtocRow>(`SELECT ${ZTOC_COLUMNS} FROM ${from}`)
      .all(...values)
      .map(ztocOf);
  }

  #indexOf(row: IndexRow): IndexRecord {
    const parts = (which: string): ZtocRecord[] =>
      this.#ztocs(
        `index_ztoc z WHERE z.index_digest = ? AND ${which} ORDER BY z.position`,
        row.digest,
      );
    const lists = parts(IS_PREFETCH).map(({ digest, sizeBytes, layerDigest }) => ({
      digest,
      sizeBytes,
      layerDigest,
    }));
    return {
      digest: parseDigest(row.digest),
      manifestDigest: parseDigest(row.manifest_digest),
      reference: row.reference,
      platform: JSON.parse(row.platform) as Platform,
      artifactType: row.artifact_type,
      sizeBytes: row.size_bytes,
      createdAt: new Date(row.created_at_ms),
      ztocs: parts(`NOT ${IS_PREFETCH}`),
      ...(lists.length > 0 && { prefetchLists: lists }),
    };
  }

  #run(sql: string, ...values: SqlValue[]): number {
    return this.#database.prepare(sql).run(...values).changes;
  }
}

function ztocOf(row: ZtocRow): ZtocRecord {
  return {
    digest: parseDigest(row.digest),
    sizeBytes: row.size_bytes,
    layerDigest: parseDigest(row.layer_digest),
    layerMediaType: row.layer_media_type,
    spanSizeBytes: row.span_size_bytes,
    ...(row.is_taken === 1 && { builtHere: false }),
  };
}
