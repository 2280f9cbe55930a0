// Run as a child process by scanTree(): lists one tree and sends it to the parent in batches.
import { createHash } from "node:crypto";
import {
  type BigIntStats,
  closeSync,
  lstatSync,
  openSync,
  readdirSync,
  readlinkSync,
  readSync,
} from "node:fs";
import koffi from "koffi";
import type { TreeEntry } from "./tree.ts";

const libc = koffi.load(null);
const llistxattr = libc.func(
  "intptr_t llistxattr(const uint8_t *path, _Out_ uint8_t *list, size_t size)",
);
const lgetxattr = libc.func(
  "intptr_t lgetxattr(const uint8_t *path, const char *name, _Out_ uint8_t *value, size_t size)",
);
const BUFFER_BYTES = 65_536;
const firstPaths = new Map<string, string>();
let batch: TreeEntry[] = [];

function scan(root: Buffer): void {
  const pending: Buffer[] = [Buffer.alloc(0)];
  for (let path = pending.pop(); path !== undefined; path = pending.pop()) {
    const full = path.length === 0 ? root : Buffer.concat([root, Buffer.from("/"), path]);
    const stats = lstatSync(full, { bigint: true });
    send(describe(full, path, stats));
    if (!stats.isDirectory()) continue;
    const names = readdirSync(full, { encoding: "buffer" }).sort(Buffer.compare).reverse();
    for (const name of names) {
      pending.push(path.length === 0 ? name : Buffer.concat([path, Buffer.from("/"), name]));
    }
  }
}

function describe(full: Buffer, path: Buffer, stats: BigIntStats): TreeEntry {
  const key = path.toString("latin1");
  const isDevice = stats.isCharacterDevice() || stats.isBlockDevice();
  const first = stats.nlink > 1n && !stats.isDirectory() ? firstPath(stats, key) : undefined;
  return {
    path: key,
    type: typeOf(stats),
    mode: (stats.mode % 0o10000n).toString(8),
    uid: String(stats.uid),
    gid: String(stats.gid),
    mtimeNs: String(stats.mtimeNs),
    ...(stats.isFile() ? { size: String(stats.size), sha256: contentDigest(full) } : {}),
    ...(stats.isSymbolicLink()
      ? { target: readlinkSync(full, { encoding: "buffer" }).toString("latin1") }
      : {}),
    ...(isDevice ? { rdev: String(stats.rdev) } : {}),
    ...(first === undefined ? {} : { hardLinkOf: first }),
    xattrs: xattrsOf(full),
  };
}

function firstPath(stats: BigIntStats, path: string): string | undefined {
  const inode = `${stats.dev}:${stats.ino}`;
  const first = firstPaths.get(inode) ?? path;
  firstPaths.set(inode, first);
  return first;
}

function typeOf(stats: BigIntStats): string {
  if (stats.isFile()) return "file";
  if (stats.isDirectory()) return "dir";
  if (stats.isSymbolicLink()) return "symlink";
  if (stats.isCharacterDevice()) return "char";
  if (stats.isBlockDevice()) return "block";
  return stats.isFIFO() ? "fifo" : "socket";
}

function contentDigest(path: Buffer): string {
  const hash = createHash("sha256");
  const buffer = Buffer.allocUnsafe(1_048_576);
  const fd = openSync(path, "r");
  try {
    for (let read = readSync(fd, buffer); read > 0; read = readSync(fd, buffer)) {
      hash.update(buffer.subarray(0, read));
    }
  } finally {
    closeSync(fd);
  }
  return hash.digest("hex");
}

function xattrsOf(path: Buffer): string[] {
  const cPath = Buffer.concat([path, Buffer.alloc(1)]);
  const list = Buffer.alloc(BUFFER_BYTES);
  const length = Number(llistxattr(cPath, list, list.length));
  if (length <= 0) return [];
  const names = list
    .subarray(0, length - 1)
    .toString("latin1")
    .split("\0");
  return names
    .filter((name) => !name.startsWith("trusted.overlay."))
    .map((name) => {
      const value = Buffer.alloc(BUFFER_BYTES);
      const valueLength = Number(lgetxattr(cPath, name, value, value.length));
      return `${name}=${value.subarray(0, Math.max(0, valueLength)).toString("hex")}`;
    })
    .sort();
}

function send(entry: TreeEntry): void {
  batch.push(entry);
  if (batch.length >= 500) flush();
}

function flush(): void {
  process.send?.(batch);
  batch = [];
}

scan(Buffer.from(process.argv[2] ?? "."));
flush();
process.disconnect();
