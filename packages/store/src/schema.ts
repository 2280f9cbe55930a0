/** The catalogue's migrations; only ever append (see `openDatabase`). */
export const CATALOGUE_MIGRATIONS: readonly string[] = [
  `
  CREATE TABLE soci_index (
    digest TEXT PRIMARY KEY,
    manifest_digest TEXT NOT NULL,
    platform TEXT NOT NULL,
    artifact_type TEXT NOT NULL,
    size_bytes INTEGER NOT NULL,
    created_at_ms INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX soci_index_by_manifest ON soci_index (manifest_digest);

  CREATE TABLE index_reference (
    position INTEGER PRIMARY KEY,
    index_digest TEXT NOT NULL REFERENCES soci_index ON DELETE CASCADE,
    reference TEXT NOT NULL,
    UNIQUE (index_digest, reference)
  ) STRICT;
  CREATE INDEX index_reference_by_reference ON index_reference (reference);

  CREATE TABLE index_ztoc (
    index_digest TEXT NOT NULL REFERENCES soci_index ON DELETE CASCADE,
    position INTEGER NOT NULL,
    digest TEXT NOT NULL,
    size_bytes INTEGER NOT NULL,
    layer_digest TEXT NOT NULL,
    layer_media_type TEXT NOT NULL,
    span_size_bytes INTEGER NOT NULL,
    PRIMARY KEY (index_digest, position)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX index_ztoc_by_digest ON index_ztoc (digest);
  CREATE INDEX index_ztoc_by_layer ON index_ztoc (layer_digest, span_size_bytes);

  CREATE TABLE hold (
    digest TEXT NOT NULL,
    owner TEXT NOT NULL,
    PRIMARY KEY (digest, owner)
  ) STRICT, WITHOUT ROWID;
  `,
];

/**
 * Tables that came later and are made where they are not there. They are no migration, so that the version before can be gone back to: it
 * does not look at them, and what it deletes takes their rows along.
 */
export const LATER_TABLES: readonly string[] = [
  `CREATE TABLE IF NOT EXISTS taken_ztoc (
    index_digest TEXT NOT NULL REFERENCES soci_index ON DELETE CASCADE,
    digest TEXT NOT NULL,
    PRIMARY KEY (index_digest, digest)
  ) STRICT, WITHOUT ROWID`,
  `CREATE TABLE IF NOT EXISTS claim (
    layer_digest TEXT NOT NULL,
    span_size_bytes INTEGER NOT NULL,
    owner TEXT NOT NULL,
    ztoc_digest TEXT,
    size_bytes INTEGER,
    PRIMARY KEY (layer_digest, span_size_bytes)
  ) STRICT, WITHOUT ROWID`,
];
