import assert from "node:assert/strict";
import {
  chmodSync,
  lchownSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";

/** Something done to a tree: to the mounted snapshot, and to a plain directory that it is compared with. */
export type Change = (directory: string) => void;

/** Makes a file with exactly this mode; an old one is written over. */
export function file(path: string, content: string, mode = 0o644): Change {
  return (directory) => {
    writeFileSync(join(directory, path), content);
    chmodSync(join(directory, path), mode);
  };
}

/** Makes a directory with exactly this mode. */
export function folder(path: string, mode = 0o755): Change {
  return (directory) => {
    mkdirSync(join(directory, path));
    chmodSync(join(directory, path), mode);
  };
}

/** Changes the owner, of a link itself too. */
export function owner(path: string, uid: number, gid: number): Change {
  return (directory) => lchownSync(join(directory, path), uid, gid);
}

/** One change after the other. */
export function all(...changes: readonly Change[]): Change {
  return (directory) => {
    for (const change of changes) change(directory);
  };
}

/** Compares two trees: names, types, modes, owners, contents, link targets. Not times, which differ, nor lengths of directories. */
export function assertSameTree(actual: string, expected: string): void {
  assert.deepEqual(describeTree(actual), describeTree(expected));
}

/** One line for each entry, the top included, sorted. */
export function describeTree(directory: string): readonly string[] {
  const names = readdirSync(directory, { recursive: true, encoding: "utf8" });
  return ["", ...names].sort().map((name) => `${name}: ${describe(join(directory, name))}`);
}

function describe(path: string): string {
  const status = lstatSync(path);
  const common = `${status.mode.toString(8)} ${status.uid}:${status.gid}`;
  if (status.isFile()) return `${common} ${JSON.stringify(readFileSync(path, "latin1"))}`;
  if (status.isSymbolicLink()) return `${common} -> ${readlinkSync(path)}`;
  return status.isDirectory() ? common : `${common} ${status.rdev}`;
}
