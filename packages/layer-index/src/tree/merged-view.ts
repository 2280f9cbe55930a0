import type { ByteString } from "@soci-ts/core";
import type { ErofsDirectory, ErofsNode } from "@soci-ts/erofs";
import type { LayerTree, LowerNode, LowerView } from "./types.ts";

/** The xattr that cuts a directory off from the layers below: of ordinary overlayfs mounts, and of those with `userxattr`. */
export const OVERLAY_OPAQUE = {
  trusted: "trusted.overlay.opaque" as ByteString,
  user: "user.overlay.opaque" as ByteString,
} as const;

/** Which xattrs overlayfs is to find its own marks in. */
export type OverlayXattrs = keyof typeof OVERLAY_OPAQUE;

interface Part {
  readonly directory: ErofsDirectory;
  readonly layer: number;
}

/** True for overlayfs's whiteout: a character device 0:0. */
export function isWhiteout(node: ErofsNode): boolean {
  return node.kind === "char" && node.devmajor === 0 && node.devminor === 0;
}

/** True if a directory hides what the layers below have in it. A tar's own `overlay` xattrs never get into a tree. */
export function isOpaque({ xattrs }: ErofsDirectory): boolean {
  return xattrs.get(OVERLAY_OPAQUE.trusted) === "y" || xattrs.get(OVERLAY_OPAQUE.user) === "y";
}

/**
 * The layers `trees`, bottom first, as overlayfs shows them stacked: whiteouts and opaque directories hide what is below. The
 * trees are looked into at each call and must not change. A look-up takes time in proportion to layers times components.
 */
export function mergedView(trees: readonly LayerTree[]): LowerView {
  return { lookup: (path) => lookup(trees, path) };
}

function lookup(trees: readonly LayerTree[], path: readonly ByteString[]): LowerNode | undefined {
  let parts = merge(trees.map(({ root }, layer) => ({ node: root, layer })).reverse());
  let found: LowerNode | undefined = parts[0] && {
    node: parts[0].directory,
    layer: parts[0].layer,
  };
  for (const name of path) {
    const candidates: LowerNode[] = [];
    for (const { directory, layer } of parts) {
      const node = directory.children.get(name);
      if (node !== undefined) candidates.push({ node, layer });
    }
    found = candidates[0];
    if (found === undefined || isWhiteout(found.node)) return undefined;
    parts = merge(candidates);
  }
  return found && { node: found.node, layer: dataLayer(trees, found) };
}

/** The directories that make up one merged directory, top first; none if the topmost node is no directory. */
function merge(candidates: readonly LowerNode[]): Part[] {
  const parts: Part[] = [];
  for (const { node, layer } of candidates) {
    if (node.kind !== "dir") break;
    parts.push({ directory: node, layer });
    if (isOpaque(node)) break;
  }
  return parts;
}

function dataLayer(trees: readonly LayerTree[], { node, layer }: LowerNode): number {
  if (node.kind !== "reg") return layer;
  const ref = trees[layer]?.devices[node.device];
  return ref === undefined || ref === "self" ? layer : ref;
}
