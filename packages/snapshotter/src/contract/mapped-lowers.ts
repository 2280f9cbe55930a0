import { mkdir, readdir, rmdir } from "node:fs/promises";
import { join } from "node:path";
import { readMountTable } from "@soci-ts/linux";
import type { IdMappedMounts, IdMapping } from "./types.ts";

/** Id-mapped copies of a snapshot's lower directories, at `m/0` (the top one) and on in its directory. */
export class MappedLowers {
  readonly #mounts: IdMappedMounts;

  constructor(mounts: IdMappedMounts) {
    this.#mounts = mounts;
  }

  /**
   * Makes those copies that are not there: all of them for a new snapshot and after a boot.
   * @param directory - the snapshot's `m`; made if absent.
   * @returns their paths, in the order of `sources`.
   */
  async show(
    directory: string,
    sources: readonly string[],
    mapping: IdMapping,
  ): Promise<readonly string[]> {
    if (sources.length === 0) return [];
    await mkdir(directory, { recursive: true, mode: 0o700 });
    const mounted = new Set(readMountTable().map(({ mountPoint }) => mountPoint));
    const targets = sources.map((_, at) => join(directory, String(at)));
    for (const [at, target] of targets.entries()) {
      const source = sources[at];
      if (source === undefined || mounted.has(target)) continue;
      await this.#mounts.mount(source, target, mapping);
    }
    return targets;
  }

  /** Takes all copies away, and `directory` with them; absent is fine. Rejects if something of them stays, so that nobody deletes what is below. */
  async hide(directory: string): Promise<void> {
    for (const name of await namesIn(directory)) {
      const target = join(directory, name);
      await this.#mounts.unmount(target);
      await ifThere(rmdir(target));
    }
    await ifThere(rmdir(directory));
  }
}

async function namesIn(directory: string): Promise<readonly string[]> {
  return (await ifThere(readdir(directory))) ?? [];
}

async function ifThere<T>(work: Promise<T>): Promise<T | undefined> {
  try {
    return await work;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}
