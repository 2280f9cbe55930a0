import { type ByteString, displayByteString } from "@soci-ts/core";
import type { ErofsDirectory, ErofsNode } from "@soci-ts/erofs";
import { MAX_DEPTH } from "@soci-ts/erofs/limits";
import type { TarEntry } from "@soci-ts/tar";
import {
  applyAttributes,
  applyTime,
  attributesOf,
  copiedAttributes,
  defaultDirectoryAttributes,
} from "./entry-attributes.ts";
import { checkName, fault, newNode } from "./entry-node.ts";
import { DEFAULT_LAYER_TREE_LIMITS, type LayerTreeLimits } from "./limits.ts";
import { findLowerDirectory } from "./lower-directory.ts";
import { isOpaque, OVERLAY_OPAQUE, type OverlayXattrs } from "./merged-view.ts";
import { cleanPath, type ResolvedPath, resolvePath } from "./paths.ts";
import type { LayerRef, LayerTree, LowerNode, LowerView } from "./types.ts";
import { WorkBudget } from "./work-budget.ts";

/** What a tree is built with, besides the layer's entries. */
export interface LayerTreeOptions {
  /** The layers below; absent for the bottom layer. */
  readonly lower?: LowerView | undefined;
  /** Default `trusted`; `user` for trees under overlayfs mounts with `userxattr`. */
  readonly overlayXattrs?: OverlayXattrs | undefined;
  readonly limits?: LayerTreeLimits | undefined;
}

type Path = readonly ByteString[];

const WHITEOUT = ".wh.";
/** AUFS's own bookkeeping, and the opaque marker among it. */
const WHITEOUT_META = ".wh..wh.";
const WHITEOUT_OPAQUE = ".wh..wh..opq";
const OPAQUE = "y" as ByteString;
/** In place of a layer's number: this layer. */
const THIS_LAYER = -1;

/**
 * The tree that containerd's unpacker leaves in its overlay upper directory for a layer with these entries, in tar order.
 * TREE.md lists the rules, and the few cases in which containerd does otherwise. Cost: time and
 * memory in proportion to the entries; the result shares no node with `lower`.
 * @throws FormatError naming the entry, at its header's offset in the tar, if it cannot be unpacked; AppError `resource_exhausted` beyond the limits.
 */
export function buildLayerTree(
  entries: Iterable<TarEntry>,
  options: LayerTreeOptions = {},
): LayerTree {
  const builder = new LayerTreeBuilder(options);
  for (const entry of entries) builder.apply(entry);
  return builder.finish();
}

class LayerTreeBuilder {
  readonly #root: ErofsDirectory = {
    kind: "dir",
    ...defaultDirectoryAttributes(),
    children: new Map(),
  };
  readonly #lower: LowerView | undefined;
  readonly #opaqueName: ByteString;
  readonly #budget: WorkBudget;
  readonly #devices: LayerRef[] = ["self"];
  /** Whiteouts by directory and name; they take effect at the end, so that their place among the entries does not matter. */
  readonly #whiteouts = new Map<ErofsDirectory, Map<ByteString, TarEntry>>();
  readonly #directoryEntries: { path: Path; entry: TarEntry }[] = [];
  #isRootNamed = false;
  #dependsOnLower = false;

  constructor({
    lower,
    overlayXattrs = "trusted",
    limits = DEFAULT_LAYER_TREE_LIMITS,
  }: LayerTreeOptions) {
    this.#lower = lower;
    this.#opaqueName = OVERLAY_OPAQUE[overlayXattrs];
    this.#budget = new WorkBudget(limits);
  }

  apply(entry: TarEntry): void {
    const path = cleanPath(entry.name);
    const name = path.at(-1);
    if (name === undefined) {
      if (entry.type === "dir") this.#nameRoot(entry);
      return;
    }
    checkName(entry, name);
    if (name.startsWith(WHITEOUT_META) && name !== WHITEOUT_OPAQUE) return;
    const parent = this.#openDirectory(path.slice(0, -1), entry);
    if (name === WHITEOUT_OPAQUE) parent.xattrs.set(this.#opaqueName, OPAQUE);
    else if (name.startsWith(WHITEOUT)) this.#noteWhiteout(parent, name, entry);
    else if (entry.type === "dir") this.#addDirectory(parent, path, entry);
    else if (entry.type === "hardlink") this.#addHardLink(parent, name, entry);
    else this.#add(parent, name, newNode(entry));
  }

  finish(): LayerTree {
    // Unpackers set directories' times last, by name: a file that took a directory's place gets that directory's time.
    for (const { path, entry } of this.#directoryEntries) {
      const { node } = this.#resolve(path, entry, { followLast: true });
      if (node !== undefined) applyTime(node, entry);
    }
    this.#applyWhiteouts();
    const below = this.#isRootNamed ? undefined : this.#lowerDirectory([]);
    if (below !== undefined) {
      const implied = copiedAttributes(below);
      const xattrs = new Map([...implied.xattrs, ...this.#root.xattrs]);
      Object.assign(this.#root, implied, { xattrs });
    }
    return { root: this.#root, devices: this.#devices, dependsOnLower: this.#dependsOnLower };
  }

  #nameRoot(entry: TarEntry): void {
    this.#isRootNamed = true;
    applyAttributes(this.#root, entry);
  }

  #noteWhiteout(parent: ErofsDirectory, markerName: ByteString, entry: TarEntry): void {
    const name = markerName.slice(WHITEOUT.length) as ByteString;
    if (name === "" || name === "." || name === "..") fault(entry, "it is a whiteout of no file");
    const names = this.#whiteouts.get(parent) ?? new Map<ByteString, TarEntry>();
    this.#whiteouts.set(parent, names.set(name, entry));
  }

  /**
   * A file of this layer wins over the whiteout of its name and hides what is below; a directory has to be opaque for that. A
   * whiteout of what is not below is left out: in a directory that no layer below shares, overlayfs would list its name.
   */
  #applyWhiteouts(): void {
    const plain: { directory: ErofsDirectory; name: ByteString; entry: TarEntry }[] = [];
    for (const [directory, names] of this.#whiteouts) {
      for (const [name, entry] of names) {
        const node = directory.children.get(name);
        if (node === undefined) plain.push({ directory, name, entry });
        else if (node.kind === "dir") node.xattrs.set(this.#opaqueName, OPAQUE);
      }
    }
    if (plain.length === 0) return;
    this.#dependsOnLower = true;
    const paths = mergedPaths(this.#root);
    for (const { directory, name, entry } of plain) {
      const path = paths.get(directory);
      if (path === undefined || this.#lower?.lookup([...path, name]) === undefined) continue;
      this.#budget.spendSteps(path.length + 1);
      const attributes = { ...attributesOf(entry), mode: 0 };
      this.#add(directory, name, { kind: "char", ...attributes, devmajor: 0, devminor: 0 });
    }
  }

  #addDirectory(parent: ErofsDirectory, path: Path, entry: TarEntry): void {
    const name = path.at(-1) as ByteString;
    const known = parent.children.get(name);
    if (known?.kind === "dir") applyAttributes(known, entry);
    else this.#add(parent, name, newNode(entry));
    this.#directoryEntries.push({ path, entry });
  }

  #addHardLink(parent: ErofsDirectory, name: ByteString, entry: TarEntry): void {
    const path = cleanPath(entry.linkname);
    const target =
      this.#resolve(path, entry, { followLast: false }).node ?? this.#copyUp(path, entry);
    if (target.kind === "dir") fault(entry, "it is a hard link to a directory");
    parent.children.set(name, target);
    applyAttributes(target, entry);
  }

  /** Brings a file of the layers below into this layer, as overlayfs does before it gives a file another name. */
  #copyUp(path: Path, entry: TarEntry): ErofsNode {
    this.#dependsOnLower = true;
    const resolved = resolvePath(this.#root, path, {
      followLast: false,
      step: (_parent, above, name) => this.#mergedLookup([...above, name])?.node,
      spend: () => this.#budget.spendSteps(1),
    });
    const found = resolved && this.#mergedLookup(resolved.path);
    if (resolved === undefined || found === undefined) {
      return fault(entry, `its target "${displayByteString(entry.linkname)}" is in no layer`);
    }
    const { node, layer } = found;
    if (node.kind === "dir" || layer === THIS_LAYER) return node;
    const copy = { ...node, ...copiedAttributes(node) };
    const placed = copy.kind === "reg" ? { ...copy, device: this.#deviceOf(layer) } : copy;
    const directory = this.#openDirectory(resolved.path.slice(0, -1), entry);
    this.#add(directory, resolved.path.at(-1) as ByteString, placed);
    return placed;
  }

  /** What is at a path in this layer as it is now, laid over the ones below. */
  #mergedLookup(path: Path): LowerNode | undefined {
    this.#budget.spendSteps(path.length);
    let directory: ErofsDirectory = this.#root;
    for (const [depth, name] of path.entries()) {
      const node = directory.children.get(name);
      if (node !== undefined && depth === path.length - 1) return { node, layer: THIS_LAYER };
      if (isOpaque(directory) || this.#whiteouts.get(directory)?.has(name)) return undefined;
      if (node === undefined) break;
      if (node.kind !== "dir") return undefined;
      directory = node;
    }
    return this.#lower?.lookup(path);
  }

  #deviceOf(layer: number): number {
    const known = this.#devices.indexOf(layer);
    return known > 0 ? known : this.#devices.push(layer) - 1;
  }

  /** The directory that a path names in this layer, links followed, made where it is missing. */
  #openDirectory(path: Path, entry: TarEntry): ErofsDirectory {
    const resolved = this.#resolve(path, entry, { followLast: true });
    if (resolved.node?.kind === "dir") return resolved.node;
    const depth = resolved.path.length;
    if (depth >= MAX_DEPTH)
      fault(entry, `it lies ${depth} directories deep, want fewer than ${MAX_DEPTH}`);
    let directory = this.#root;
    for (const [index, name] of resolved.path.entries()) {
      const node =
        directory.children.get(name) ??
        this.#addImplied(directory, resolved.path.slice(0, index + 1), entry);
      if (node.kind !== "dir") {
        fault(
          entry,
          `"${displayByteString(name)}" in its path is a ${node.kind}, want a directory`,
        );
      }
      directory = node;
    }
    return directory;
  }

  #addImplied(parent: ErofsDirectory, path: Path, entry: TarEntry): ErofsDirectory {
    const name = path.at(-1) as ByteString;
    checkName(entry, name);
    const isReplaced = this.#whiteouts.get(parent)?.has(name) === true;
    const below = isReplaced ? undefined : this.#lowerDirectory(path);
    const attributes = below ? copiedAttributes(below) : defaultDirectoryAttributes(parent);
    const directory: ErofsDirectory = { kind: "dir", ...attributes, children: new Map() };
    this.#add(parent, name, directory);
    return directory;
  }

  /** The directory that a path of this layer leads to below: where a directory that no entry describes has its attributes from. */
  #lowerDirectory(path: Path): ErofsDirectory | undefined {
    this.#dependsOnLower = true;
    return this.#lower && findLowerDirectory(this.#lower, path, this.#budget);
  }

  /** Follows links inside this layer alone, as the unpacker does. */
  #resolve(path: Path, entry: TarEntry, { followLast }: { followLast: boolean }): ResolvedPath {
    const plain = this.#findPlain(path);
    if (plain !== undefined && !(followLast && plain.kind === "symlink"))
      return { path, node: plain };
    const resolved = resolvePath(this.#root, path, {
      followLast,
      step: (parent, _above, name) =>
        parent?.kind === "dir" ? parent.children.get(name) : undefined,
      spend: () => this.#budget.spendSteps(1),
    });
    return resolved ?? fault(entry, "its path leads through too many symbolic links");
  }

  /** The short way that serves nearly all entries: what is at a path of directories that are all there. */
  #findPlain(path: Path): ErofsNode | undefined {
    let node: ErofsNode | undefined = this.#root;
    for (const name of path) {
      if (node?.kind !== "dir") return undefined;
      node = node.children.get(name);
    }
    return node;
  }

  #add(parent: ErofsDirectory, name: ByteString, node: ErofsNode): void {
    this.#budget.spendNode();
    parent.children.set(name, node);
  }
}

/** Where each directory of a tree stands, but for those that an opaque directory cuts off from the layers below. */
function mergedPaths(root: ErofsDirectory): Map<ErofsDirectory, Path> {
  const paths = new Map<ErofsDirectory, Path>([[root, []]]);
  for (const [directory, path] of paths) {
    if (isOpaque(directory)) {
      paths.delete(directory);
      continue;
    }
    for (const [name, child] of directory.children) {
      if (child.kind === "dir") paths.set(child, [...path, name]);
    }
  }
  return paths;
}
