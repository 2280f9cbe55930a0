import type { Labels, LayerStory, SnapshotInfo, SnapshotKind, Usage } from "./types.ts";

/** All that is remembered of a snapshot. */
export interface SnapshotRecord extends SnapshotInfo {
  /** Names its directory; never used again. */
  readonly id: number;
  readonly parentId: number | undefined;
  /** The lazy layer that it is; such a snapshot has no directory. */
  readonly layer: number | undefined;
  /** How its layer came to be, if an image layer was asked for. */
  readonly story: LayerStory | undefined;
  /** As counted at the commit. */
  readonly usage: Usage;
}

/** A snapshot's row as SQLite gives it, with its parent's name. */
export interface SnapshotRow {
  readonly id: number;
  readonly name: string;
  readonly kind: SnapshotKind;
  readonly parent: number | null;
  readonly parent_name: string | null;
  readonly labels: string;
  readonly created_ms: number;
  readonly updated_ms: number;
  readonly layer: number | null;
  readonly story: string | null;
  readonly size_bytes: number;
  readonly inodes: number;
}

/** A row in our words. */
export function recordOf(row: SnapshotRow): SnapshotRecord {
  return {
    id: row.id,
    name: row.name,
    kind: row.kind,
    parentId: row.parent ?? undefined,
    parent: row.parent_name ?? "",
    labels: JSON.parse(row.labels) as Labels,
    createdAt: new Date(row.created_ms),
    updatedAt: new Date(row.updated_ms),
    layer: row.layer ?? undefined,
    story: row.story === null ? undefined : (JSON.parse(row.story) as LayerStory),
    usage: { sizeBytes: row.size_bytes, inodes: row.inodes },
  };
}

/** What containerd is told of a snapshot. */
export function infoOf(record: SnapshotRecord): SnapshotInfo {
  const { kind, name, parent, labels, createdAt, updatedAt } = record;
  return { kind, name, parent, labels, createdAt, updatedAt };
}

/** Labels as they are kept: containerd's stores take an empty value for "not there". */
export function encodeLabels(labels: Labels): string {
  return JSON.stringify(Object.fromEntries(Object.entries(labels).filter(([, v]) => v !== "")));
}
