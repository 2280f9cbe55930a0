import type { ByteString } from "@soci-ts/core";
import type { ErofsDirectory, ErofsNode } from "@soci-ts/erofs";

/** A layer as a data device: the layer itself, or one below by its number, 0 being the bottom. */
export type LayerRef = "self" | number;

/** The tree of one layer, ready to be written as an EROFS image and to be an overlayfs lower directory. */
export interface LayerTree {
  readonly root: ErofsDirectory;
  /** What `device` of the tree's regular files counts; the first is always `self`. */
  readonly devices: readonly LayerRef[];
  /**
   * The layers below were asked, so over other layers the tree may differ: the image is then kept by chain, not by layer. Follows
   * from the layer's entries alone, so it is the same wherever the layer stands.
   */
  readonly dependsOnLower: boolean;
}

/** A file of the layers below. */
export interface LowerNode {
  /** Of a directory the attributes count; its `children` are those of one layer only. */
  readonly node: ErofsNode;
  /** Of a regular file the layer whose tar holds its bytes; else the layer whose tree holds the node. 0 is the bottom. */
  readonly layer: number;
}

/** The merged file system of the layers below, as overlayfs would show it. */
export interface LowerView {
  /** What is at a path from the root; symbolic links are not followed. Undefined if there is nothing. */
  lookup(path: readonly ByteString[]): LowerNode | undefined;
}
