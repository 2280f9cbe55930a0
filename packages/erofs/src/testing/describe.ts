import type { ByteString } from "@soci-ts/core";
import type { ErofsReader } from "../reader.ts";
import type { ErofsDirectory, ErofsDirectoryEntry, ErofsInode, ErofsNode } from "../types.ts";

/** What a file is, in values that compare. `group` is the first path of the same inode. */
export interface Description {
  readonly kind: string;
  readonly mode: number;
  readonly owner: string;
  readonly nlink: number;
  readonly mtime: string;
  readonly device: string;
  readonly target: string;
  readonly sizeBytes: number;
  readonly extent: string;
  readonly xattrs: readonly string[];
  readonly group: string;
}

/** Path from the root, `/` for the root itself, to what is there. Sorted by path. */
export type Descriptions = Map<string, Description>;

interface Visit<T> {
  readonly path: string;
  readonly item: T;
}

/** Describes a tree as it went in. Directories' sizes are left at 0: they are the writer's business. */
export function describeTree(root: ErofsDirectory): Descriptions {
  const groups = new Map<ErofsNode, string>();
  const names = new Map<ErofsNode, number>();
  const visits: Visit<ErofsNode>[] = [{ path: "", item: root }];
  for (const { path, item } of visits) {
    if (!groups.has(item)) groups.set(item, path || "/");
    names.set(item, (names.get(item) ?? 0) + 1);
    if (item.kind !== "dir") continue;
    for (const name of [...item.children.keys()].sort()) {
      visits.push({ path: `${path}/${name}`, item: item.children.get(name) as ErofsNode });
    }
  }
  const describeVisit = ({ path, item }: Visit<ErofsNode>): [string, Description] => {
    const group = groups.get(item) ?? "";
    return [path || "/", { ...describeNode(item, names.get(item) ?? 0), group }];
  };
  return new Map(visits.map(describeVisit));
}

function describeNode(node: ErofsNode, names: number): Omit<Description, "group"> {
  const base = {
    kind: node.kind,
    mode: node.mode,
    owner: `${node.uid}:${node.gid}`,
    nlink: names,
    mtime: `${node.mtimeSec}+${node.mtimeNsec}`,
    device: "0:0",
    target: "",
    sizeBytes: 0,
    extent: "",
    xattrs: xattrList(node.xattrs),
  };
  switch (node.kind) {
    case "dir": {
      const subdirectories = [...node.children.values()].filter(({ kind }) => kind === "dir");
      return { ...base, nlink: 2 + subdirectories.length };
    }
    case "reg": {
      const extent = `${node.device}@${node.dataOffset}+${node.sizeBytes}`;
      return { ...base, sizeBytes: node.sizeBytes, extent: node.sizeBytes > 0 ? extent : "" };
    }
    case "symlink":
      return { ...base, target: node.target, sizeBytes: node.target.length };
    case "char":
    case "block":
      return { ...base, device: `${node.devmajor}:${node.devminor}` };
    case "fifo":
    case "socket":
      return base;
  }
}

/** Describes an image through the reader, with every name looked up as well as listed. */
export function describeImage(reader: ErofsReader): Descriptions {
  const groups = new Map<number, string>();
  const descriptions: Descriptions = new Map();
  const visits: Visit<number>[] = [{ path: "", item: reader.rootNid }];
  for (const { path, item } of visits) {
    const inode = reader.inode(item);
    if (!groups.has(item)) groups.set(item, path || "/");
    descriptions.set(path || "/", {
      ...describeInode(reader, inode),
      group: groups.get(item) ?? "",
    });
    if (inode.kind !== "dir") continue;
    for (const { name, nid } of checkedEntries(reader, item))
      visits.push({ path: `${path}/${name}`, item: nid });
  }
  return descriptions;
}

/** A directory's entries but `.` and `..`, each looked up and its kind compared with the inode's. */
function checkedEntries(reader: ErofsReader, nid: number): ErofsDirectoryEntry[] {
  const entries = [...reader.readDirectory(nid)];
  for (const { name, nid: child, kind } of entries) {
    const found = reader.lookup(nid, name);
    if (found?.nid !== child || found.kind !== kind) throw new Error(`lookup of ${name}`);
    if (reader.inode(child).kind !== kind) throw new Error(`kind of ${name}`);
  }
  return entries.filter(({ name }) => name !== "." && name !== "..");
}

function describeInode(reader: ErofsReader, inode: ErofsInode): Omit<Description, "group"> {
  const extent = inode.kind === "reg" ? reader.extent(inode.nid) : undefined;
  return {
    kind: inode.kind,
    mode: inode.mode,
    owner: `${inode.uid}:${inode.gid}`,
    nlink: inode.nlink,
    mtime: `${inode.mtimeSec}+${inode.mtimeNsec}`,
    device: `${inode.devmajor}:${inode.devminor}`,
    target: inode.kind === "symlink" ? reader.readLink(inode.nid) : "",
    sizeBytes: inode.kind === "dir" ? 0 : inode.sizeBytes,
    extent: extent ? `${extent.device}@${extent.offset}+${extent.sizeBytes}` : "",
    xattrs: xattrList(reader.xattrs(inode.nid)),
  };
}

/** xattrs as sorted lines. */
export function xattrList(xattrs: ReadonlyMap<ByteString, ByteString>): string[] {
  return [...xattrs].map(([name, value]) => `${name}=${value}`).sort();
}
