import { randomUUID } from "node:crypto";
import { closeSync, fstatSync, fsyncSync, open, openSync, renameSync } from "node:fs";
import { mkdir, opendir, stat, unlink } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import {
  AppError,
  type Digest,
  type DigestAlgorithm,
  digestAlgorithm,
  digestHex,
  isDigest,
} from "@soci-ts/core";

const openDescriptor = promisify(open);

/** The folders of blobs, one for each algorithm. */
export const ALGORITHMS: readonly [DigestAlgorithm, DigestAlgorithm] = ["sha256", "sha512"];
/** The folder, beside those of the blobs, of files that are being deleted. */
export const TRASH = "trash";

/**
 * The bytes of blobs: `<directory>/<algorithm>/<hex>`, as in an OCI layout. A file gets its name only when it is whole,
 * verified and synced, and counts only once the catalogue has its row. Placing and removing are synchronous on purpose:
 * together with the catalogue's step they run in one turn of the event loop, so an upload and a delete of the same blob
 * cannot get between each other's halves. A crash between the halves leaves a file without a row, which {@link BlobFiles.sweep} removes.
 * A removed file is first moved to `trash/`, which takes microseconds, and deleted from there outside the event loop: for a large one that takes long.
 */
export class BlobFiles {
  readonly #directory: string;

  private constructor(directory: string) {
    this.#directory = directory;
  }

  /** Makes the folders if need be. */
  static async open(directory: string): Promise<BlobFiles> {
    for (const name of [...ALGORITHMS, TRASH])
      await mkdir(join(directory, name), { recursive: true });
    syncDirectory(directory);
    return new BlobFiles(directory);
  }

  /** For reading only: nothing is made. */
  static openReadOnly(directory: string): BlobFiles {
    return new BlobFiles(directory);
  }

  /** Moves a verified and synced file to its place, for good when this returns. */
  place(digest: Digest, from: string): void {
    renameSync(from, this.#path(digest));
    syncDirectory(join(this.#directory, digestAlgorithm(digest)));
  }

  /** Takes back {@link BlobFiles.place}, for when the catalogue refuses the row and did not have it before. */
  takeBack(digest: Digest, to: string): void {
    renameSync(this.#path(digest), to);
  }

  /** Removes a blob's file: its name is gone when this has been called, its bytes when it resolves. Readers that have it open go on. */
  async remove(digest: Digest): Promise<void> {
    const path = join(this.#directory, TRASH, randomUUID());
    try {
      renameSync(this.#path(digest), path);
    } catch (error) {
      return absentAsUndefined(error);
    }
    await unlink(path);
  }

  /** Opens a blob's file for reading; undefined if it is absent or not of the size it should have. The caller closes the descriptor. */
  async open(digest: Digest, sizeBytes: number): Promise<number | undefined> {
    const descriptor = await openDescriptor(this.#path(digest), "r").catch(absentAsUndefined);
    if (descriptor === undefined) return undefined;
    if (fstatSync(descriptor).size === sizeBytes) return descriptor;
    closeSync(descriptor);
    return undefined;
  }

  /** True if the file is there with the size it should have. */
  async isWhole(digest: Digest, sizeBytes: number): Promise<boolean> {
    return (await stat(this.#path(digest)).catch(absentAsUndefined))?.size === sizeBytes;
  }

  /** @throws AppError `not_found` if the folder of blobs is not there. */
  async probe(): Promise<void> {
    const found = await stat(join(this.#directory, ALGORITHMS[0])).catch(absentAsUndefined);
    if (found !== undefined) return;
    throw new AppError(
      "not_found",
      `Cannot read blobs: ${JSON.stringify(this.#directory)} is not there`,
    );
  }

  /** Removes every file whose digest is not `known`, and the trash; run it while nothing else runs. Returns how many. */
  async sweep(known: (digest: Digest) => boolean): Promise<number> {
    let removed = 0;
    for await (const entry of await opendir(join(this.#directory, TRASH))) {
      await unlink(join(this.#directory, TRASH, entry.name));
      removed += 1;
    }
    for (const algorithm of ALGORITHMS) {
      const folder = join(this.#directory, algorithm);
      for await (const entry of await opendir(folder)) {
        const digest = `${algorithm}:${entry.name}`;
        if (isDigest(digest) && known(digest)) continue;
        await unlink(join(folder, entry.name));
        removed += 1;
      }
    }
    return removed;
  }

  #path(digest: Digest): string {
    return blobPath(this.#directory, digest);
  }
}

/** Where a blob's file is below the folder of all blobs. */
export function blobPath(directory: string, digest: Digest): string {
  return join(directory, digestAlgorithm(digest), digestHex(digest));
}

function isAbsent(error: unknown): boolean {
  return error instanceof Error && (error as NodeJS.ErrnoException).code === "ENOENT";
}

/** For `catch`: an absent file becomes undefined, other failures stay. */
export function absentAsUndefined(error: unknown): undefined {
  if (!isAbsent(error)) throw error;
}

/** Makes the names in a folder, or a file's bytes, survive a power cut. */
export function syncDirectory(path: string): void {
  const descriptor = openSync(path, "r");
  try {
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}
