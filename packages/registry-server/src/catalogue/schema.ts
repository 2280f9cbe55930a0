/**
 * The catalogue's tables. `user_version` counts the scripts applied; scripts are only ever appended.
 *
 * - `repository`: appears with its first blob or manifest and stays.
 * - `blob`: a file `blobs/<algorithm>/<hex>` that is whole and verified. No row, no blob: the file alone counts for nothing.
 * - `repository_blob`: which repositories may serve it.
 * - `content`: the bytes of manifests, once for each digest; apart from `manifest` so that lists do not read them.
 * - `manifest`: `id` grows with every push and is never used again: it is the cursor of the referrers pages. `released_ms` is when a tag, an index
 *   or another push last let go of it.
 * - `reference`: what each manifest needs in its repository, blobs and entries of indexes; derived from its bytes. `repository_blob.linked_ms` is
 *   renewed whenever a client may rely on a blob that nothing refers to.
 * - `removed_subject`: a manifest that had referrers when it was removed, until it is back or they are gone too.
 */
export const MIGRATIONS: readonly string[] = [
  `
CREATE TABLE repository (
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL UNIQUE
) STRICT;

CREATE TABLE blob (
  digest TEXT NOT NULL PRIMARY KEY,
  size INTEGER NOT NULL,
  created_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE repository_blob (
  repository INTEGER NOT NULL REFERENCES repository (id),
  digest TEXT NOT NULL REFERENCES blob (digest),
  linked_ms INTEGER NOT NULL,
  PRIMARY KEY (repository, digest)
) STRICT, WITHOUT ROWID;
CREATE INDEX repository_blob_digest ON repository_blob (digest);

CREATE TABLE content (
  id INTEGER PRIMARY KEY,
  digest TEXT NOT NULL UNIQUE,
  bytes BLOB NOT NULL
) STRICT;

CREATE TABLE manifest (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  repository INTEGER NOT NULL REFERENCES repository (id),
  digest TEXT NOT NULL REFERENCES content (digest),
  media_type TEXT NOT NULL,
  size INTEGER NOT NULL,
  subject TEXT,
  artifact_type TEXT,
  annotations TEXT,
  created_ms INTEGER NOT NULL,
  UNIQUE (repository, digest)
) STRICT;
CREATE INDEX manifest_digest ON manifest (digest);
CREATE INDEX manifest_subject ON manifest (repository, subject, id) WHERE subject IS NOT NULL;
CREATE INDEX manifest_subject_type ON manifest (repository, subject, artifact_type, id) WHERE subject IS NOT NULL;

CREATE TABLE tag (
  repository INTEGER NOT NULL,
  name TEXT NOT NULL,
  digest TEXT NOT NULL,
  updated_ms INTEGER NOT NULL,
  PRIMARY KEY (repository, name),
  FOREIGN KEY (repository, digest) REFERENCES manifest (repository, digest)
) STRICT, WITHOUT ROWID;
CREATE INDEX tag_digest ON tag (repository, digest);
`,
  `
ALTER TABLE manifest ADD COLUMN released_ms INTEGER NOT NULL DEFAULT 0;

CREATE TABLE reference (
  repository INTEGER NOT NULL,
  digest TEXT NOT NULL,
  manifest INTEGER NOT NULL REFERENCES manifest (id) ON DELETE CASCADE,
  PRIMARY KEY (repository, digest, manifest)
) STRICT, WITHOUT ROWID;
CREATE INDEX reference_manifest ON reference (manifest);

INSERT OR IGNORE INTO reference (repository, digest, manifest)
SELECT repository, json_extract(part.value, '$.digest'), manifest.id
FROM manifest JOIN content USING (digest), json_each(CAST(bytes AS TEXT), '$.layers') AS part
WHERE instr(coalesce(json_extract(part.value, '$.mediaType'), ''), '.foreign.') = 0
AND instr(coalesce(json_extract(part.value, '$.mediaType'), ''), '.nondistributable.') = 0;
INSERT OR IGNORE INTO reference (repository, digest, manifest)
SELECT repository, json_extract(part.value, '$.digest'), manifest.id
FROM manifest JOIN content USING (digest), json_each(CAST(bytes AS TEXT), '$.manifests') AS part;
INSERT OR IGNORE INTO reference (repository, digest, manifest)
SELECT repository, json_extract(CAST(bytes AS TEXT), '$.config.digest'), manifest.id
FROM manifest JOIN content USING (digest)
WHERE json_type(CAST(bytes AS TEXT), '$.config.digest') = 'text';

CREATE TABLE removed_subject (
  repository INTEGER NOT NULL REFERENCES repository (id),
  digest TEXT NOT NULL,
  removed_ms INTEGER NOT NULL,
  PRIMARY KEY (repository, digest)
) STRICT, WITHOUT ROWID;
`,
];

/** The version of a catalogue that this program writes. */
export const CATALOGUE_VERSION: number = MIGRATIONS.length;
