import { existsSync, mkdirSync, readdirSync, renameSync } from "node:fs";
import { join } from "node:path";
import { type Logger, silentLogger } from "@soci-ts/core";
import { type Database, openOrReplaceDatabase } from "@soci-ts/sqlite";

/**
 * One row for each snapshot.
 *
 * `id` names the snapshot's directory and, by AUTOINCREMENT, never comes back. `parent` is an id, so that a chain is followed by numbers; the foreign key keeps a
 * parent from going while it has children. `layer` is the number of a lazy layer: such a row has no directory. `story` is a LayerStory,
 * also of a layer that containerd had to bring. `size_bytes` and `inodes` are counted once, at the commit.
 */
const SNAPSHOT_TABLE = `
CREATE TABLE snapshot (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  name TEXT NOT NULL UNIQUE,
  kind TEXT NOT NULL CHECK (kind IN ('active', 'view', 'committed')),
  parent INTEGER REFERENCES snapshot (id),
  labels TEXT NOT NULL,
  created_ms INTEGER NOT NULL,
  updated_ms INTEGER NOT NULL,
  layer INTEGER,
  story TEXT,
  size_bytes INTEGER NOT NULL DEFAULT 0,
  inodes INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX snapshot_parent ON snapshot (parent);
CREATE INDEX snapshot_open ON snapshot (id) WHERE kind <> 'committed';
CREATE INDEX snapshot_layer ON snapshot (layer) WHERE layer IS NOT NULL;
CREATE INDEX snapshot_ref ON snapshot (json_extract(labels, '$."containerd.io/snapshot.ref"'));
`;

/** The schema of `metadata.db`, oldest first; what else this node keeps is appended. Entries are never changed. */
export const METASTORE_MIGRATIONS: readonly string[] = [SNAPSHOT_TABLE];

/**
 * Opens `ROOT/metadata.db`; makes `root` (mode 0700) if it is absent. One that is damaged is set aside, and so are the directories of snapshots if
 * there is no record of any: else they would be taken for what a crash left, and deleted, containers' own files with them.
 * @returns the one database of this node's state, the caller's to close.
 * @throws AppError as `openOrReplaceDatabase` does.
 */
export function openMetastore(root: string, options: { readonly logger?: Logger } = {}): Database {
  mkdirSync(root, { recursive: true, mode: 0o700 });
  const path = join(root, "metadata.db");
  const database = openOrReplaceDatabase(path, { migrations: METASTORE_MIGRATIONS, ...options });
  if (!hasHadSnapshots(database)) setDirectoriesAside(root, options.logger ?? silentLogger);
  return database;
}

function hasHadSnapshots(database: Database): boolean {
  return (
    database.prepare("SELECT 1 FROM sqlite_sequence WHERE name = 'snapshot'").get() !== undefined
  );
}

function setDirectoriesAside(root: string, logger: Logger): void {
  const directories = join(root, "snapshots");
  if (!existsSync(directories) || readdirSync(directories).length === 0) return;
  const aside = `${directories}.damaged-${Date.now()}`;
  renameSync(directories, aside);
  const error = `containers' own files are in "${aside}" until you delete it; \`soci-snapshotter repair IMAGE\` brings an image back`;
  const code = "data_loss";
  logger.error("records of snapshots are lost, their directories were set aside", { code, error });
}
