import { join } from "node:path";
import { databaseVersion, openDatabase } from "@soci-ts/sqlite";

/** How many referrers {@link fillReferrers} writes. */
export const MILLION = 1_000_000;
/** The subject of the first half of them. */
export const HOT_SUBJECT: string = digestNumber(9_999_999);

/** The nth subject of the second half, which are five to a subject. */
export function subjectOf(n: number): string {
  return digestNumber(10_000_000 + (n < 200_000 ? n % 100_000 : n));
}

/**
 * Writes referrers into the catalogue of a registry that does not run, in one transaction: pushing a million would take an hour. Ten artifact types
 * in turn, two annotations each. Returns how many milliseconds it took.
 */
export function fillReferrers(root: string): number {
  const started = performance.now();
  const path = join(root, "catalogue.sqlite");
  // The registry has made the tables: as many migrations as it ran, none of them to run again.
  const migrations = new Array<string>(databaseVersion(path) ?? 0).fill("");
  using database = openDatabase(path, { migrations });
  database.transaction(() => {
    database.prepare("INSERT INTO repository (id, name) VALUES (1, 'bench/million')").run();
    database.prepare(NUMBERS + CONTENT).run(MILLION);
    database.prepare(NUMBERS + MANIFEST).run(MILLION, MILLION / 2);
  });
  return performance.now() - started;
}

function digestNumber(n: number): string {
  return `sha256:${n.toString().padStart(64, "0")}`;
}

const NUMBERS =
  "WITH RECURSIVE number (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < ?) ";
const CONTENT =
  "INSERT INTO content (digest, bytes) SELECT printf('sha256:%064d', n), x'7b7d' FROM number";
const MANIFEST = `INSERT INTO manifest (repository, digest, media_type, size, subject, artifact_type, annotations, created_ms)
SELECT 1, printf('sha256:%064d', n), 'application/vnd.oci.image.manifest.v1+json', 2,
  CASE WHEN n <= ? THEN '${HOT_SUBJECT}' ELSE printf('sha256:%064d', 10000000 + n % 100000) END,
  'application/vnd.example.type-' || (n % 10),
  '{"org.opencontainers.image.created":"2026-01-01T00:00:00Z","com.example.number":"' || n || '"}', 0 FROM number`;
