import { lstat, readdir, readlink, realpath, stat } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { command } from "@soci-ts/testkit";

/** Absolute paths with every folder above them, in the order in which a tar wants them. */
export class FileList {
  readonly paths: Set<string> = new Set();
  bytes = 0;

  /** Adds files, each with what it links to. */
  async addFiles(paths: readonly string[]): Promise<void> {
    for (const path of paths) if (!this.paths.has(path)) await this.#add(path);
  }

  /** Adds the files below a folder that no other list has, until `enough` says so. */
  async addTree(
    folder: string,
    others: readonly FileList[] = [],
    enough: () => boolean = () => false,
  ): Promise<void> {
    const entries = await readdir(folder, { withFileTypes: true }).catch(() => []);
    for (const entry of entries) {
      if (enough()) return;
      const path = join(folder, entry.name);
      if (entry.isDirectory()) await this.addTree(path, others, enough);
      else if (entry.isFile() || entry.isSymbolicLink()) {
        if (!others.some((other) => other.paths.has(path))) await this.#add(path);
      }
    }
  }

  /** A path through a link (Debian's /lib) brings the link itself and what it leads to. */
  async #add(path: string): Promise<void> {
    const real = join(await realpath(dirname(path)), path.slice(path.lastIndexOf("/") + 1));
    for (let at = path; at !== "/"; at = dirname(at)) await this.#put(at);
    for (let at = real; at !== "/"; at = dirname(at)) await this.#put(at);
    const link = await readlink(real).catch(() => undefined);
    if (link !== undefined && (await stat(real).catch(() => undefined))?.isFile()) {
      await this.#add(resolve(dirname(real), link));
    }
  }

  async #put(path: string): Promise<void> {
    if (this.paths.has(path)) return;
    // A folder that is reached through a link is not a name of its own in the tar.
    if ((await realpath(dirname(path))) !== dirname(path)) return;
    this.paths.add(path);
    const stats = await lstat(path);
    if (stats.isFile()) this.bytes += stats.size;
  }
}

/** The programs and every shared library that the loader would bring in. */
export async function withLibraries(programs: readonly string[]): Promise<string[]> {
  const found = new Set<string>(programs);
  for (const program of programs) {
    const { stdout } = await command("ldd", [await realpath(program)]);
    for (const match of stdout.matchAll(/(\/\S+) \(0x/g)) found.add(match[1] ?? "");
  }
  return [...found];
}
