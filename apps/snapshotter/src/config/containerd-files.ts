import { execFile } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import {
  type ContainerdFiles,
  type ContainerdVersion,
  parseContainerdVersion,
} from "./containerd-config.ts";

const VERSION_TIMEOUT_MS = 5000;

/** The machine's files, for reading containerd's configuration. */
export function machineFiles(readFile: ContainerdFiles["readFile"]): ContainerdFiles {
  return { readFile, glob };
}

/** The release of the `containerd` on the PATH; `undefined` if there is none, or it does not tell. */
export async function installedRelease(
  signal: AbortSignal,
): Promise<ContainerdVersion | undefined> {
  try {
    const { stdout } = await promisify(execFile)("containerd", ["--version"], {
      timeout: VERSION_TIMEOUT_MS,
      signal,
    });
    return parseContainerdVersion(stdout);
  } catch {
    // No containerd here, or one that can't run: the file alone is what there is to go by.
    signal.throwIfAborted();
    return undefined;
  }
}

/** Paths that match a pattern in which `*` stands for any text within one name, as containerd's imports have it. */
function glob(pattern: string): readonly string[] {
  let found = ["/"];
  for (const part of pattern.split("/").filter((name) => name !== "")) {
    if (!part.includes("*")) {
      found = found.map((folder) => join(folder, part)).filter((path) => existsSync(path));
      continue;
    }
    const matcher = new RegExp(
      `^${part.replace(/[.+?^${}()|[\]\\]/g, "\\$&").replaceAll("*", ".*")}$`,
    );
    found = found.flatMap((folder) =>
      namesIn(folder)
        .filter((name) => matcher.test(name))
        .map((name) => join(folder, name)),
    );
  }
  return found.sort();
}

function namesIn(folder: string): readonly string[] {
  try {
    return readdirSync(folder);
  } catch {
    // No folder, no matches: containerd takes it so too.
    return [];
  }
}
