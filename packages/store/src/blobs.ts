import { mkdir, open, readdir, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import {
  AppError,
  type Digest,
  digestAlgorithm,
  digestHex,
  isDigest,
  verifyDigest,
} from "@soci-ts/core";
import { writeFileAtomically } from "./atomic-file.ts";
import { TEMPORARY_DIRECTORY } from "./root-directory.ts";

const DEFAULT_MAX_BYTES = 2 ** 30;

/** A blob's file, with when it was last written. */
export interface BlobFile {
  readonly digest: Digest;
  readonly writtenAtMs: number;
}

/** Files named by their content's digest: `blobs/<algorithm>/<hex>` under a root. Knows nothing of who needs them. */
export class BlobFiles {
  readonly #root: string;

  constructor(root: string) {
    this.#root = root;
  }

  path(digest: Digest): string {
    return join(this.#root, "blobs", digestAlgorithm(digest), digestHex(digest));
  }

  async has(digest: Digest): Promise<boolean> {
    return (await this.#statOf(digest)) !== undefined;
  }

  /** @throws AppError as `Store.readBlob` says. */
  async read(digest: Digest, maxBytes: number = DEFAULT_MAX_BYTES): Promise<Uint8Array> {
    const found = await this.#statOf(digest);
    if (found === undefined) {
      throw new AppError("not_found", `Cannot read blob ${digest}: the store does not have it`);
    }
    if (found.size > maxBytes) {
      throw new AppError(
        "resource_exhausted",
        `Cannot read blob ${digest}: it has ${found.size} bytes, want at most ${maxBytes}`,
      );
    }
    await using file = await open(this.path(digest), "r");
    const bytes = await file.readFile();
    verifyDigest(`blob ${JSON.stringify(this.path(digest))}`, bytes, digest);
    return bytes;
  }

  /** Writes always, also over a file that is there: so a damaged one is mended. */
  async write(digest: Digest, content: Uint8Array | AsyncIterable<Uint8Array>): Promise<void> {
    const path = this.path(digest);
    await mkdir(dirname(path), { recursive: true, mode: 0o700 });
    await writeFileAtomically(path, content, join(this.#root, TEMPORARY_DIRECTORY));
  }

  /** Every blob on the disk. */
  async list(): Promise<BlobFile[]> {
    const files: BlobFile[] = [];
    for (const algorithm of ["sha256", "sha512"]) {
      for (const name of await namesIn(join(this.#root, "blobs", algorithm))) {
        const digest = `${algorithm}:${name}`;
        if (!isDigest(digest)) continue;
        const found = await this.#statOf(digest);
        if (found !== undefined) files.push({ digest, writtenAtMs: found.mtimeMs });
      }
    }
    return files;
  }

  async #statOf(digest: Digest): Promise<{ size: number; mtimeMs: number } | undefined> {
    try {
      return await stat(this.path(digest));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
      throw AppError.from(error);
    }
  }
}

/** The names in a directory; none if it is absent. */
export async function namesIn(directory: string): Promise<string[]> {
  try {
    return await readdir(directory);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
    throw error;
  }
}
