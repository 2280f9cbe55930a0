import { constants } from "node:os";
import { type ByteString, byteStringBytes, byteStringFromText } from "@soci-ts/core";
import { FuseError } from "../errno.ts";
import type { FuseAttributes, FuseDirectoryEntry, FuseFileType, FuseHandler } from "../handler.ts";

/** A file of a {@link MemoryTree}. */
export interface MemoryNode {
  readonly type: FuseFileType;
  readonly mode?: number;
  /** Bytes of a regular file, or the target of a symbolic link. */
  readonly content?: Uint8Array;
  readonly children?: Readonly<Record<string, number>>;
  readonly xattrs?: Readonly<Record<string, string>>;
  readonly devmajor?: number;
  readonly devminor?: number;
  readonly nlink?: number;
}

/** A file system from a table of nodes: the smallest handler there can be. Node 1 is the root. */
export class MemoryTree implements FuseHandler {
  readonly nodes: ReadonlyMap<number, MemoryNode>;

  constructor(nodes: ReadonlyMap<number, MemoryNode>) {
    this.nodes = nodes;
  }

  lookup(parent: number, name: ByteString): FuseAttributes | undefined {
    const child = this.#node(parent).children?.[name];
    return child === undefined ? undefined : this.getAttributes(child);
  }

  getAttributes(nodeId: number): FuseAttributes {
    const node = this.#node(nodeId);
    return {
      nodeId,
      type: node.type,
      mode: node.mode ?? (node.type === "dir" ? 0o755 : 0o644),
      sizeBytes: node.content?.length ?? 0,
      nlink: node.nlink ?? (node.type === "dir" ? 2 : 1),
      uid: 12,
      gid: 34,
      mtimeSec: -5,
      mtimeNsec: 123_456_789,
      devmajor: node.devmajor ?? 0,
      devminor: node.devminor ?? 0,
    };
  }

  readLink(nodeId: number): Uint8Array {
    return this.#node(nodeId).content ?? new Uint8Array(0);
  }

  read(nodeId: number, offset: number, length: number): Promise<Uint8Array> | Uint8Array {
    const { content = new Uint8Array(0) } = this.#node(nodeId);
    return content.subarray(offset, offset + length);
  }

  readDirectory(nodeId: number): readonly FuseDirectoryEntry[] {
    const children = Object.entries(this.#node(nodeId).children ?? {});
    const dots = [".", ".."].map((name) => ({
      name: byteStringFromText(name),
      nodeId,
      type: "dir" as const,
    }));
    return dots.concat(
      children.map(([name, child]) => ({
        name: name as ByteString,
        nodeId: child,
        type: this.#node(child).type as "dir",
      })),
    );
  }

  getXattr(nodeId: number, name: ByteString): Uint8Array | undefined {
    const value = this.#node(nodeId).xattrs?.[name];
    return value === undefined ? undefined : byteStringBytes(byteStringFromText(value));
  }

  listXattrs(nodeId: number): readonly ByteString[] {
    return Object.keys(this.#node(nodeId).xattrs ?? {}) as ByteString[];
  }

  #node(nodeId: number): MemoryNode {
    const node = this.nodes.get(nodeId);
    if (node === undefined) throw new FuseError(constants.errno.ENOENT);
    return node;
  }
}

/** Reads never end by themselves; the test sees how they are aborted. */
export class StuckTree extends MemoryTree {
  readonly reasons: unknown[] = [];

  override read(
    _node: number,
    _offset: number,
    _length: number,
    options?: { signal?: AbortSignal | undefined },
  ): Promise<Uint8Array> {
    options?.signal?.addEventListener("abort", () => this.reasons.push(options.signal?.reason));
    return new Promise(() => {});
  }
}

/** Bytes that differ from place to place. */
export function pattern(length: number): Uint8Array {
  return Uint8Array.from({ length }, (_, at) => (at * 31 + (at >> 8)) & 0xff);
}

/** One of each: `big` (node 2), `link`, `sub/…` with 300 names, a whiteout, a directory with xattrs, a name that is not UTF-8, two hard links. */
export function sampleTree(): ReadonlyMap<number, MemoryNode> {
  const many = Object.fromEntries(
    Array.from({ length: 300 }, (_, at) => [`file-with-a-rather-long-name-${at}`, 1000 + at]),
  );
  const nodes = new Map<number, MemoryNode>([
    [
      1,
      {
        type: "dir",
        children: {
          big: 2,
          link: 3,
          sub: 4,
          whiteout: 5,
          opaque: 6,
          "caf\xe9": 7,
          one: 8,
          two: 8,
          bad: 9,
        },
      },
    ],
    [2, { type: "reg", content: pattern(3_000_000) }],
    [3, { type: "symlink", mode: 0o777, content: Buffer.from("sub/../big") }],
    [4, { type: "dir", children: many }],
    [5, { type: "char", mode: 0 }],
    [6, { type: "dir", xattrs: { "trusted.overlay.opaque": "y", "user.empty": "" }, children: {} }],
    [7, { type: "block", devmajor: 259, devminor: 70_000 }],
    [8, { type: "reg", nlink: 2, mode: 0o4755, content: Buffer.from("hard\n") }],
    [9, { type: "reg", content: new Uint8Array(4096) }],
  ]);
  for (let at = 0; at < 300; at += 1) nodes.set(1000 + at, { type: "reg", content: pattern(at) });
  return nodes;
}
