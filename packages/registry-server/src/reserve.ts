import { randomFillSync } from "node:crypto";
import { unlinkSync } from "node:fs";
import { open, stat, statfs } from "node:fs/promises";
import { join } from "node:path";
import { absentAsUndefined } from "./blob-files.ts";
import { isDiskFull } from "./spec-error.ts";

/** Enough for the log of some thousand removed rows. */
const RESERVE_BYTES: number = 4 * 1024 * 1024;
/** Of a small file system only this part. */
const LARGEST_SHARE: number = 1 / 64;

/**
 * Space that is kept for removing things: on a full disk SQLite can't even delete a row, because it first writes down that it will. The reserve is a file
 * that goes when a removal, a garbage collection or a start finds the disk full, and comes back when there is room. Pushes never get it.
 */
export class Reserve {
  readonly #path: string;
  #isFilling = false;

  constructor(root: string) {
    this.#path = join(root, "reserve");
  }

  /** Runs `work`; if the disk is full, gives the reserve up and runs it once more. */
  async spend<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      if (!isDiskFull(error) || !this.#release()) throw error;
    }
    try {
      return await work();
    } finally {
      await this.fill();
    }
  }

  /** Takes as much of the reserve as there is room for; does nothing if it is there. */
  async fill(): Promise<void> {
    if (this.#isFilling) return;
    this.#isFilling = true;
    try {
      await this.#fill();
    } catch (error) {
      if (!isDiskFull(error)) throw error; // a smaller reserve is one too
    } finally {
      this.#isFilling = false;
    }
  }

  async #fill(): Promise<void> {
    const { blocks, bsize } = await statfs(join(this.#path, ".."));
    const wantedBytes = Math.floor(Math.min(RESERVE_BYTES, blocks * bsize * LARGEST_SHARE));
    const found = await stat(this.#path).catch(absentAsUndefined);
    if ((found?.size ?? 0) >= wantedBytes) return;
    await using file = await open(this.#path, "w", 0o600);
    // Random, since a file system that compresses would keep no room for zeros.
    const bytes = randomFillSync(new Uint8Array(wantedBytes));
    for (let at = 0; at < bytes.length; ) {
      at += (await file.write(bytes, at, bytes.length - at, at)).bytesWritten;
    }
  }

  #release(): boolean {
    try {
      unlinkSync(this.#path);
      return true;
    } catch (error) {
      absentAsUndefined(error);
      return false;
    }
  }
}
