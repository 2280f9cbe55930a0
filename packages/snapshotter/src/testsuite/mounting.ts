import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { mount, readMountTable, unmount } from "@soci-ts/linux";
import type { Mount } from "../contract/types.ts";

const run = promisify(execFile);
const TOOLS = { PATH: "/usr/sbin:/usr/bin:/sbin:/bin", LC_ALL: "C" };

/** One page, less what the kernel and the caller add: where containerd starts to shorten, too. */
const MAX_OPTIONS = 3500;

/** Makes the mounts of a snapshot at `target`, as containerd does: in order, long lists of lower directories relative to what they share. */
export async function mountAll(mounts: readonly Mount[], target: string): Promise<void> {
  for (const each of mounts) await mountOne(each, target);
}

/** Takes away whatever is mounted at `target`. */
export async function unmountAll(target: string): Promise<void> {
  while (readMountTable().some(({ mountPoint }) => mountPoint === target)) await unmount(target);
}

async function mountOne({ type, source, options }: Mount, target: string): Promise<void> {
  const data = options.join(",");
  if (type === "bind") {
    await run("mount", ["-i", "-n", "-o", data, source, target], { env: TOOLS });
  } else if (data.length <= MAX_OPTIONS) {
    await mount({ source, target, type, data });
  } else {
    const { directory, shorter } = shorten(options);
    const args = ["-i", "-n", "-t", type, "-o", shorter.join(","), source, target];
    await run("mount", args, { env: TOOLS, cwd: directory });
  }
}

/** Lower directories as seen from the directory that all of them are in. */
function shorten(options: readonly string[]): {
  readonly directory: string;
  readonly shorter: readonly string[];
} {
  const mark = "lowerdir=";
  const list = options.find((option) => option.startsWith(mark)) ?? mark;
  const lowers = list.slice(mark.length).split(":");
  const [first = "", ...others] = lowers;
  let shared = first.lastIndexOf("/");
  while (!others.every((other) => other.startsWith(first.slice(0, shared + 1)))) {
    shared = first.lastIndexOf("/", shared - 1);
  }
  const relative = lowers.map((lower) => lower.slice(shared + 1)).join(":");
  const shorter = options.map((option) => (option === list ? `${mark}${relative}` : option));
  return { directory: first.slice(0, shared + 1), shorter };
}
