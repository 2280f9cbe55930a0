import { chmod, chown, lstat, mkdir, open, readdir, rename } from "node:fs/promises";
import { join } from "node:path";
import type { SnapshotKind } from "./types.ts";

/** Who owns a directory. */
export interface Owner {
  readonly uid: number;
  readonly gid: number;
}

const MADE = /^\d{1,15}$/;
const SET_ASIDE = /^(\d{1,15})\.rm$/;

/** What lies on the disk. */
export interface FoundDirectories {
  /** Numbers that have a directory. */
  readonly ids: readonly number[];
  /** Paths of those that were set aside to be deleted. */
  readonly aside: readonly string[];
  /** The highest number that any of them is named for; 0 for none. */
  readonly lastId: number;
}

/**
 * The directories of snapshots: `ROOT/snapshots/ID/{fs,work,m}`. `fs` is the snapshot's own content, `work` overlayfs's room for an active one, `m` holds
 * id-mapped copies of what is below. Made before their row is committed and taken away after it has gone, so a crash leaves directories with no
 * row, never a row with none.
 */
export class SnapshotDirectories {
  readonly #root: string;

  private constructor(root: string) {
    this.#root = root;
  }

  /** Makes `ROOT/snapshots` (mode 0700) if it is absent. */
  static async open(root: string): Promise<SnapshotDirectories> {
    const directory = join(root, "snapshots");
    await mkdir(directory, { recursive: true, mode: 0o700 });
    return new SnapshotDirectories(directory);
  }

  /** A snapshot's directory. */
  path(id: number): string {
    return join(this.#root, String(id));
  }

  /** A snapshot's content. */
  content(id: number): string {
    return join(this.path(id), "fs");
  }

  /** overlayfs's room for an active snapshot. */
  work(id: number): string {
    return join(this.path(id), "work");
  }

  /** Holds the id-mapped copies. */
  mapped(id: number): string {
    return join(this.path(id), "m");
  }

  /** Who owns the root of a snapshot's content. */
  async owner(id: number): Promise<Owner> {
    const { uid, gid } = await lstat(this.content(id));
    return { uid, gid };
  }

  /** Makes a snapshot's directories, on the disk when this resolves. */
  async make(id: number, kind: SnapshotKind, owner: Owner): Promise<void> {
    await mkdir(this.path(id), { mode: 0o700 });
    await mkdir(this.content(id));
    // Not left to the umask: this is the mode of a container's root directory.
    await chmod(this.content(id), 0o755);
    await chown(this.content(id), owner.uid, owner.gid);
    if (kind === "active") await mkdir(this.work(id), { mode: 0o711 });
    await syncDirectory(this.path(id));
    await syncDirectory(this.#root);
  }

  /**
   * Puts a snapshot's directory out of the way. Nothing may be mounted on it itself. Absent is fine.
   * @returns the path of what is to be deleted.
   */
  async setAside(id: number): Promise<string> {
    const path = this.path(id);
    try {
      await rename(path, `${path}.rm`);
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      // Something of that name is still being deleted: then this is deleted where it is.
      if (code === "ENOTEMPTY" || code === "EEXIST") return path;
      // Never made.
      if (code !== "ENOENT") throw error;
    }
    return `${path}.rm`;
  }

  /** Looks at what is there. Names of other forms are nobody's business. */
  async find(): Promise<FoundDirectories> {
    const names = await readdir(this.#root);
    const ids = names.filter((name) => MADE.test(name)).map(Number);
    const aside = names.flatMap((name) => SET_ASIDE.exec(name)?.[1] ?? []);
    return {
      ids,
      aside: aside.map((id) => join(this.#root, `${id}.rm`)),
      lastId: Math.max(0, ...ids, ...aside.map(Number)),
    };
  }
}

async function syncDirectory(path: string): Promise<void> {
  const handle = await open(path, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
