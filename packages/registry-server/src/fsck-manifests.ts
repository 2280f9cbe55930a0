import { AppError, digestAlgorithm, digestOf } from "@soci-ts/core";
import { CatalogueRepair, type ManifestRow } from "./catalogue/inventory.ts";
import type { FsckRoom, NewFinding } from "./fsck-room.ts";
import { type ManifestFacts, readManifestFacts } from "./manifest-facts.ts";

const PAGE_ROWS = 100;

/** Holds every manifest's bytes against its digest and against what the catalogue says of it. Returns how many there are. */
export function checkManifests(room: FsckRoom): number {
  let manifests = 0;
  for (let after = 0; ; ) {
    room.signal?.throwIfAborted();
    const page = room.inventory.manifests(after, PAGE_ROWS);
    for (const row of page) {
      for (const finding of checkManifest(room, row)) room.findings.add(finding);
      manifests += 1;
    }
    const last = page.at(-1);
    if (last === undefined) return manifests;
    after = last.id;
  }
}

function checkManifest(room: FsckRoom, row: ManifestRow): NewFinding[] {
  const about = `${row.name}@${row.digest}`;
  const fault = (kind: string, message: string): NewFinding[] => [
    { severity: "fault", kind, about, message },
  ];
  const actual = digestOf(row.bytes, digestAlgorithm(row.digest));
  if (actual !== row.digest) {
    return fault("manifest_damaged", `its bytes have the digest ${actual}`);
  }
  const facts = readFacts(row);
  if (facts instanceof AppError) return fault("manifest_facts", facts.message);
  if (row.size !== row.bytes.length || row.subject !== (facts.subject ?? null)) {
    return fault("manifest_facts", "the catalogue has another size or subject than its bytes");
  }
  return [...checkReferences(room, row, facts), ...checkPresence(room, row)];
}

function readFacts(row: ManifestRow): ManifestFacts | AppError {
  try {
    return readManifestFacts(row.bytes, row.media_type);
  } catch (error) {
    return AppError.from(error);
  }
}

/** Garbage collection goes by these rows: without one, a blob that is needed would go. */
function checkReferences(room: FsckRoom, row: ManifestRow, facts: ManifestFacts): NewFinding[] {
  const wanted = new Set<string>([...facts.blobs, ...facts.manifests]);
  const found = new Set(room.inventory.references(row.id));
  const missing = [...wanted].filter((digest) => !found.has(digest));
  const surplus = [...found].filter((digest) => !wanted.has(digest));
  if (missing.length === 0 && surplus.length === 0) return [];
  // Beside a service: it may have been removed since the page was read.
  if (room.isOnline && room.inventory.manifests(row.id - 1, 1)[0]?.id !== row.id) return [];
  const isRepaired = room.repair !== undefined;
  if (room.repair !== undefined) {
    new CatalogueRepair(room.repair).setReferences(row.id, row.repository, [...wanted]);
  }
  const severity = missing.length > 0 ? "fault" : "leftover";
  const message = `the catalogue lacks ${missing.length} of the digests that it needs, and has ${surplus.length} that it does not need`;
  const about = `${row.name}@${row.digest}`;
  return [{ severity, kind: "references", about, message, isRepaired }];
}

function checkPresence(room: FsckRoom, row: ManifestRow): NewFinding[] {
  return room.inventory.lacking(row.id).map((digest) => ({
    severity: "note",
    kind: "dangling",
    about: `${row.name}@${row.digest}`,
    message: `it needs ${digest}, which ${row.name} does not have: deleted, or never pushed`,
  }));
}
