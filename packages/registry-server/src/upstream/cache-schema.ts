/**
 * The cache's tables. All of it can be fetched again, so a file that is damaged is replaced by an empty one.
 *
 * - `entry`: a file `<algorithm>/<hex>` that is whole and verified; `used_ms` orders eviction after a restart.
 * - `link`: where an upstream has it: nobody gets content through a repository that does not have it.
 * - `tag`: what a tag pointed at when the upstream was asked last.
 * - `referrers`: what an upstream listed when it was asked last, as JSON.
 * - `open_repository`: what anybody could read, and until when that is believed.
 */
export const CACHE_MIGRATIONS: readonly string[] = [
  `
CREATE TABLE entry (
  digest TEXT NOT NULL PRIMARY KEY,
  size INTEGER NOT NULL,
  media_type TEXT,
  used_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE link (
  upstream TEXT NOT NULL,
  repository TEXT NOT NULL,
  digest TEXT NOT NULL,
  PRIMARY KEY (upstream, repository, digest)
) STRICT, WITHOUT ROWID;
CREATE INDEX link_digest ON link (digest);

CREATE TABLE tag (
  upstream TEXT NOT NULL,
  repository TEXT NOT NULL,
  name TEXT NOT NULL,
  digest TEXT NOT NULL,
  checked_ms INTEGER NOT NULL,
  PRIMARY KEY (upstream, repository, name)
) STRICT, WITHOUT ROWID;
CREATE INDEX tag_digest ON tag (digest);

CREATE TABLE referrers (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  upstream TEXT NOT NULL,
  repository TEXT NOT NULL,
  subject TEXT NOT NULL,
  entries TEXT NOT NULL,
  UNIQUE (upstream, repository, subject)
) STRICT;

CREATE TABLE open_repository (
  upstream TEXT NOT NULL,
  repository TEXT NOT NULL,
  until_ms INTEGER NOT NULL,
  PRIMARY KEY (upstream, repository)
) STRICT, WITHOUT ROWID;
`,
];
