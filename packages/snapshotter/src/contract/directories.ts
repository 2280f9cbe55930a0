import { chmod, chown, lstat, mkdir, open, readdir, rename } from "node:fs/promises";
import { join } from "node:path";
import type { SnapshotKind } from "./types.ts";

/** Who owns a directory. */
export interface Owner {
  readonly uid: number;
  readonly gid: number;
}

const OURS = /^(\d{1,15})(\.rm)?$/;

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

  /** Puts a snapshot's directory out of the way, to be deleted. Nothing may be mounted on it itself. Absent is fine. */
  async setAside(id: number): Promise<string> {
    const aside = `${this.path(id)}.rm`;
    try {
      await rename(this.path(id), aside);
    } catch (error) {
      // Never made, or put aside before a crash: then what is left of it is there already.
      if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
    }
    return aside;
  }

  /** Numbers that have a directory, or what is left of one. Other names are nobody's business. */
  async ids(): Promise<readonly number[]> {
    const names = await readdir(this.#root);
    const ids = names.flatMap((name) => OURS.exec(name)?.[1] ?? []);
    return [...new Set(ids)].map(Number);
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
