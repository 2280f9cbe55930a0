import { constants, copyFile, link, open, rename, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { type Digest, digestAlgorithm } from "@soci-ts/core";
import { ALGORITHMS, absentAsUndefined, blobPath, syncDirectory } from "./blob-files.ts";
import type { Inventory } from "./catalogue/inventory.ts";
import { readState } from "./fsck-blobs.ts";

const PAGE_ROWS = 500;
const CHUNK_BYTES: number = 1024 * 1024;
const MAX_NAMED = 1000;
/** What link(2) says where there can be no second name of a file. */
const NO_LINK: readonly unknown[] = ["EXDEV", "EPERM", "EMLINK", "ENOTSUP", "ENOSYS"];

/** Blobs on their way from one root to another. */
export interface BlobCopy {
  readonly from: string;
  readonly to: string;
  /** What is to be copied. */
  readonly inventory: Inventory;
  /** Whether a second name of the same file will do. */
  readonly canLink: boolean;
  readonly signal?: AbortSignal | undefined;
}

/** What came of it. */
export interface CopiedBlobs {
  readonly blobs: number;
  readonly linked: number;
  readonly copied: number;
  readonly copiedBytes: number;
  /** The first that the source does not have. */
  readonly lost: readonly Digest[];
  /** The first that have another size or digest there. */
  readonly damaged: readonly Digest[];
}

type Outcome = "there" | "linked" | "copied" | "lost" | "damaged";

/** Brings every blob of an inventory to a root that does not have it yet, for good when this resolves. Copies are verified, links only by their size. */
export async function copyBlobs(copy: BlobCopy): Promise<CopiedBlobs> {
  const count: Record<Outcome, number> = { there: 0, linked: 0, copied: 0, lost: 0, damaged: 0 };
  const named: Record<"lost" | "damaged", Digest[]> = { lost: [], damaged: [] };
  let copiedBytes = 0;
  const buffer = new Uint8Array(CHUNK_BYTES);
  for (let after = ""; ; ) {
    const page = copy.inventory.blobs(after, PAGE_ROWS);
    for (const { digest, size } of page) {
      copy.signal?.throwIfAborted();
      const outcome = await copyBlob(copy, { digest, sizeBytes: size }, buffer);
      count[outcome] += 1;
      if (outcome === "copied") copiedBytes += size;
      if (outcome !== "lost" && outcome !== "damaged") continue;
      if (named[outcome].length < MAX_NAMED) named[outcome].push(digest);
    }
    const last = page.at(-1);
    if (last === undefined) break;
    after = last.digest;
  }
  for (const algorithm of ALGORITHMS) syncDirectory(join(copy.to, "blobs", algorithm));
  const blobs = Object.values(count).reduce((sum, each) => sum + each, 0);
  const { linked, copied } = count;
  return { blobs, linked, copied, copiedBytes, ...named };
}

async function copyBlob(
  { from, to, canLink }: BlobCopy,
  blob: { readonly digest: Digest; readonly sizeBytes: number },
  buffer: Uint8Array,
): Promise<Outcome> {
  const { digest, sizeBytes } = blob;
  const source = blobPath(join(from, "blobs"), digest);
  const target = blobPath(join(to, "blobs"), digest);
  if ((await sizeOf(target)) === sizeBytes) return "there";
  const found = await sizeOf(source);
  if (found === undefined) return "lost";
  if (found !== sizeBytes) return "damaged";
  const temporary = join(to, "blobs", digestAlgorithm(digest), "copying");
  await rm(temporary, { force: true });
  const isLinked = canLink && (await tryLink(source, temporary));
  if (!isLinked) {
    const isCopied = await copyVerified(source, temporary, digest, buffer);
    if (isCopied !== "copied") return isCopied;
  }
  await rename(temporary, target);
  return isLinked ? "linked" : "copied";
}

async function copyVerified(
  source: string,
  temporary: string,
  digest: Digest,
  buffer: Uint8Array,
): Promise<"copied" | "lost" | "damaged"> {
  try {
    await copyFile(source, temporary, constants.COPYFILE_FICLONE);
  } catch (error) {
    absentAsUndefined(error);
    return "lost";
  }
  const state = await readState(temporary, digest, buffer);
  if (state?.digest !== digest) {
    await rm(temporary, { force: true });
    return "damaged";
  }
  await using file = await open(temporary, "r+");
  await file.sync();
  return "copied";
}

/** False where a copy has to do; also if the source went away meanwhile, which the copy finds out. */
async function tryLink(source: string, target: string): Promise<boolean> {
  try {
    await link(source, target);
    return true;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOENT" || NO_LINK.includes(code)) return false;
    throw error;
  }
}

async function sizeOf(path: string): Promise<number | undefined> {
  return (await stat(path).catch(absentAsUndefined))?.size;
}
