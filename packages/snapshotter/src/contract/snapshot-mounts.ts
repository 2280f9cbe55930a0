import { type OverlayFeatures, overlayOptions } from "./overlay-features.ts";
import type { SnapshotRecord } from "./records.ts";
import type { Mount, SnapshotKind } from "./types.ts";

/** A directory below a snapshot: a lazy layer's, or an unpacked snapshot's own. */
export type Lower =
  | { readonly kind: "layer"; readonly layer: number }
  | { readonly kind: "directory"; readonly id: number };

/**
 * What lies below a snapshot on top of `chain` (bottom first), top first. A layer that stands in it twice is one file system, which overlayfs takes once only (ELOOP):
 * the upper one says all that the lower one does.
 */
export function lowersOf(chain: readonly SnapshotRecord[]): readonly Lower[] {
  const seen = new Set<number>();
  const lowers: Lower[] = [];
  for (const { id, layer } of chain.toReversed()) {
    if (layer === undefined) lowers.push({ kind: "directory", id });
    else if (!seen.has(layer)) lowers.push({ kind: "layer", layer });
    if (layer !== undefined) seen.add(layer);
  }
  return lowers;
}

/** What a snapshot's mounts are made of. */
export interface SnapshotParts {
  readonly kind: SnapshotKind;
  readonly content: string;
  readonly work: string;
  /** Top first. */
  readonly lowers: readonly string[];
}

/** What the caller is to mount to see a snapshot. */
export function snapshotMounts(
  { kind, content, work, lowers }: SnapshotParts,
  features: OverlayFeatures,
): readonly Mount[] {
  const [top] = lowers;
  if (top === undefined) return [bind(content, kind === "active" ? "rw" : "ro")];
  if (kind === "view" && lowers.length === 1) return [bind(top, "ro")];
  const parts = kind === "active" ? { lowers, own: { content, work } } : { lowers };
  return [{ type: "overlay", source: "overlay", options: overlayOptions(features, parts) }];
}

function bind(source: string, access: "ro" | "rw"): Mount {
  return { type: "bind", source, options: [access, "rbind"] };
}
