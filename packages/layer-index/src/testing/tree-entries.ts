import { type ByteString, byteStringFromText } from "@soci-ts/core";
import type { ErofsDirectory, ErofsNode } from "@soci-ts/erofs";
import type { TarEntry, TarEntryType } from "@soci-ts/tar";

/** What a test says of an entry; xattrs become PAX records. */
export interface EntryFields extends Partial<Omit<TarEntry, "name" | "linkname" | "paxRecords">> {
  readonly linkname?: string;
  readonly xattrs?: Record<string, string>;
}

function bytes(text: string): ByteString {
  return byteStringFromText(text);
}

/** A tar entry with defaults. Data offsets default to 512. */
export function entry(name: string, type: TarEntryType, fields: EntryFields = {}): TarEntry {
  const { linkname = "", xattrs = {}, ...rest } = fields;
  const records = Object.entries(xattrs).map(
    ([key, value]) => [bytes(`SCHILY.xattr.${key}`), bytes(value)] as const,
  );
  return {
    name: bytes(name),
    type,
    headerOffset: 0,
    dataOffset: 512,
    sizeBytes: type === "reg" ? 1 : 0,
    linkname: bytes(linkname),
    mode: type === "dir" ? 0o755 : 0o644,
    uid: 0,
    gid: 0,
    uname: bytes(""),
    gname: bytes(""),
    mtimeSec: 1000,
    mtimeNsec: 0,
    devmajor: 0,
    devminor: 0,
    paxRecords: new Map(records),
    ...rest,
  };
}

/** What is at a path of a tree. */
export function nodeAt(root: ErofsDirectory, path: string): ErofsNode | undefined {
  let node: ErofsNode | undefined = root;
  for (const name of path.split("/").filter((part) => part !== "")) {
    node = node?.kind === "dir" ? node.children.get(bytes(name)) : undefined;
  }
  return node;
}

/** A tree as sorted lines: `path kind mode uid:gid mtime extra {xattrs}`, the root as `/`. */
export function treeLines(root: ErofsDirectory): string[] {
  const lines: string[] = [];
  const visits: { path: string; node: ErofsNode }[] = [{ path: "", node: root }];
  for (const { path, node } of visits) {
    lines.push(line(path || "/", node));
    if (node.kind !== "dir") continue;
    for (const [name, child] of node.children)
      visits.push({ path: `${path}/${name}`, node: child });
  }
  return lines.sort();
}

function line(path: string, node: ErofsNode): string {
  const xattrs = [...node.xattrs].map(([name, value]) => `${name}=${value}`).sort();
  const attributes = `${node.mode.toString(8)} ${node.uid}:${node.gid} ${node.mtimeSec}.${node.mtimeNsec}`;
  return `${path} ${node.kind} ${attributes}${extra(node)} {${xattrs.join(",")}}`;
}

function extra(node: ErofsNode): string {
  switch (node.kind) {
    case "reg":
      return ` ${node.device}@${node.dataOffset}+${node.sizeBytes}`;
    case "symlink":
      return ` -> ${node.target}`;
    case "char":
    case "block":
      return ` ${node.devmajor}:${node.devminor}`;
    case "dir":
    case "fifo":
    case "socket":
      return "";
  }
}
