import {
  type BigIntStats,
  closeSync,
  constants,
  lstatSync,
  openSync,
  readdirSync,
  rmdirSync,
  unlinkSync,
} from "node:fs";
import type { Usage } from "./types.ts";

/** What is done on the way through a tree. */
interface TreeVisitor {
  /** A directory, before what is in it. */
  enter(status: BigIntStats): void;
  /** Anything else. */
  entry(path: Buffer, status: BigIntStats): void;
  /** A directory, after what was in it. */
  leave(path: Buffer): void;
}

type Step =
  | { readonly kind: "look"; readonly path: Buffer }
  | { readonly kind: "leave"; readonly path: Buffer }
  | { readonly kind: "close"; readonly fd: number };

/** The kernel takes paths of up to 4095 bytes; a container can nest deeper. From this length on a path starts anew at an open directory. */
const MAX_PATH_BYTES = 2048;
const SLASH = Buffer.from("/");

/**
 * Disk space of what is in a directory, itself included: blocks, not lengths; a file with several links counts once. Never follows a
 * symbolic link nor enters another file system; what goes away meanwhile is not counted. Blocks the thread.
 */
export function treeUsage(root: string): Usage {
  const seen = new Set<string>();
  let blocks = 0n;
  let inodes = 0;
  const count = (status: BigIntStats): void => {
    blocks += status.blocks;
    inodes += 1;
  };
  walkTree(root, {
    enter: count,
    entry: (_, status) => {
      if (status.nlink > 1n) {
        const inode = String(status.ino);
        if (seen.has(inode)) return;
        seen.add(inode);
      }
      count(status);
    },
    leave: () => {},
  });
  return { sizeBytes: Number(blocks * 512n), inodes };
}

/** Deletes a tree, but nothing on another file system. An absent one is fine. Blocks the thread. */
export function removeTree(root: string): void {
  walkTree(root, {
    enter: () => {},
    entry: (path) => ifThere(() => unlinkSync(path)),
    leave: (path) => ifThere(() => rmdirSync(path)),
  });
}

function walkTree(root: string, visitor: TreeVisitor): void {
  const start = Buffer.from(root);
  const device = ifThere(() => lstatSync(start, { bigint: true }))?.dev;
  const steps: Step[] = [{ kind: "look", path: start }];
  try {
    for (let step = steps.pop(); step !== undefined; step = steps.pop()) {
      if (step.kind === "close") closeSync(step.fd);
      else if (step.kind === "leave") visitor.leave(step.path);
      else look(step.path, device, { visitor, steps });
    }
  } finally {
    for (const step of steps) if (step.kind === "close") closeSync(step.fd);
  }
}

function look(
  path: Buffer,
  device: bigint | undefined,
  { visitor, steps }: { readonly visitor: TreeVisitor; readonly steps: Step[] },
): void {
  const status = ifThere(() => lstatSync(path, { bigint: true }));
  if (status === undefined || status.dev !== device) return;
  if (!status.isDirectory()) {
    visitor.entry(path, status);
    return;
  }
  visitor.enter(status);
  steps.push({ kind: "leave", path });
  const short = path.length < MAX_PATH_BYTES ? path : startAnew(path, steps);
  const names = short && ifThere(() => readdirSync(short, { encoding: "buffer" }));
  for (const name of names ?? []) {
    steps.push({ kind: "look", path: Buffer.concat([short ?? path, SLASH, name]) });
  }
}

/** A short path to the same directory, good until its `close` step. */
function startAnew(path: Buffer, steps: Step[]): Buffer | undefined {
  const flags = constants.O_RDONLY + constants.O_DIRECTORY + constants.O_NOFOLLOW;
  const fd = ifThere(() => openSync(path, flags));
  if (fd === undefined) return undefined;
  steps.push({ kind: "close", fd });
  return Buffer.from(`/proc/self/fd/${fd}`);
}

/** Names in a directory that is in use come and go. */
function ifThere<T>(look: () => T): T | undefined {
  try {
    return look();
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOENT" || code === "ENOTDIR") return undefined;
    throw error;
  }
}
