import { fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";

/** Everything that two equal trees agree on for one path. Times, sizes and numbers are decimal text. */
export interface TreeEntry {
  /** Relative to the root, bytes as latin1; the root itself is the empty string. */
  readonly path: string;
  readonly type: string;
  readonly mode: string;
  readonly uid: string;
  readonly gid: string;
  readonly mtimeNs: string;
  /** Of regular files. */
  readonly size?: string;
  readonly sha256?: string;
  readonly target?: string;
  readonly rdev?: string;
  /** First path of the same inode, where there are several. */
  readonly hardLinkOf?: string;
  /** Name and hex value, sorted by name; overlay's own are left out. */
  readonly xattrs: readonly string[];
}

const SCAN_PROGRAM = fileURLToPath(new URL("./tree-scan.js", import.meta.url));

/** Lists a tree from a child process, since the process that serves a mount must not look into it. */
export async function scanTree(root: string): Promise<TreeEntry[]> {
  const child = fork(SCAN_PROGRAM, [root], { serialization: "advanced" });
  const entries: TreeEntry[] = [];
  child.on("message", (message) => {
    entries.push(...(message as TreeEntry[]));
  });
  const [code] = await once(child, "exit");
  if (code !== 0) throw new Error(`Cannot scan ${root}: the scanner ended with ${code}`);
  return entries;
}

/** How two trees differ, a line each; empty if they are equal. */
export function compareTrees(
  actual: readonly TreeEntry[],
  expected: readonly TreeEntry[],
  ignore: (path: string, field: string) => boolean = () => false,
): string[] {
  const differences: string[] = [];
  const byPath = new Map(actual.map((entry) => [entry.path, entry]));
  for (const want of expected) {
    const got = byPath.get(want.path);
    byPath.delete(want.path);
    if (got === undefined) differences.push(`/${want.path}: missing`);
    else differences.push(...compareEntries(got, want, ignore));
  }
  for (const path of byPath.keys()) differences.push(`/${path}: should not be there`);
  return differences;
}

function compareEntries(
  got: TreeEntry,
  want: TreeEntry,
  ignore: (path: string, field: string) => boolean,
): string[] {
  const fields = new Set([...Object.keys(got), ...Object.keys(want)]) as Set<keyof TreeEntry>;
  const differences: string[] = [];
  for (const field of fields) {
    const a = JSON.stringify(got[field]);
    const b = JSON.stringify(want[field]);
    if (a !== b && !ignore(want.path, field)) {
      differences.push(`/${want.path}: ${field} is ${a}, want ${b}`);
    }
  }
  return differences;
}
