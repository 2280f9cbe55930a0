import { closeSync, fstatSync, fsyncSync, open, openSync, renameSync, unlinkSync } from "node:fs";
import { mkdir, opendir, stat, unlink } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import {
  type Digest,
  type DigestAlgorithm,
  digestAlgorithm,
  digestHex,
  isDigest,
} from "@soci-ts/core";

const openDescriptor = promisify(open);
const ALGORITHMS: readonly DigestAlgorithm[] = ["sha256", "sha512"];

/**
 * The bytes of blobs: `<directory>/<algorithm>/<hex>`, as in an OCI layout. A file gets its name only when it is whole,
 * verified and synced, and counts only once the catalogue has its row. Placing and removing are synchronous on purpose:
 * together with the catalogue's step they run in one turn of the event loop, so an upload and a delete of the same blob
 * cannot get between each other's halves. A crash between the halves leaves a file without a row, which {@link BlobFiles.sweep} removes.
 */
export class BlobFiles {
  readonly #directory: string;

  private constructor(directory: string) {
    this.#directory = directory;
  }

  /** Makes the folders if need be. */
  static async open(directory: string): Promise<BlobFiles> {
    for (const algorithm of ALGORITHMS)
      await mkdir(join(directory, algorithm), { recursive: true });
    syncDirectory(directory);
    return new BlobFiles(directory);
  }

  /** Moves a verified and synced file to its place, for good when this returns. */
  place(digest: Digest, from: string): void {
    renameSync(from, this.#path(digest));
    syncDirectory(join(this.#directory, digestAlgorithm(digest)));
  }

  /** Removes a blob's file; readers that have it open go on. */
  remove(digest: Digest): void {
    try {
      unlinkSync(this.#path(digest));
    } catch (error) {
      if (!isAbsent(error)) throw error;
    }
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

  /** Removes every file whose digest is not `known`; run it while nothing else runs. Returns how many. */
  async sweep(known: (digest: Digest) => boolean): Promise<number> {
    let removed = 0;
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
    return join(this.#directory, digestAlgorithm(digest), digestHex(digest));
  }
}

function isAbsent(error: unknown): boolean {
  return error instanceof Error && (error as NodeJS.ErrnoException).code === "ENOENT";
}

/** For `catch`: an absent file becomes undefined, other failures stay. */
export function absentAsUndefined(error: unknown): undefined {
  if (!isAbsent(error)) throw error;
}

function syncDirectory(path: string): void {
  const descriptor = openSync(path, "r");
  try {
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}
