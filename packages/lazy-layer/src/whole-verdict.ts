import { readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { AppError, type Digest } from "@soci-ts/core";
import { DATA_FILE } from "./cache-files.ts";
import { replaceFile } from "./file-io.ts";

const VERDICT_FILE = "whole.json";
const VERDICT_FORMAT = 1;

/**
 * What is known of a whole layer's bytes. Life: *unknown*, until all of them are there and have been hashed; then *right*, as long as
 * nobody touches the data file, or *wrong* for good: only deleting the cache ends that.
 */
export type WholeVerdict = "right" | "wrong" | "unknown";

/** The data file as it was when its bytes were hashed. */
export interface DataIdentity {
  readonly ino: number;
  readonly sizeBytes: number;
  /** Nanoseconds since the epoch, as decimal digits. */
  readonly mtimeNs: string;
}

/** A cache directory and what is to be thought of the bytes in it. */
export interface JudgedCache {
  readonly verdict: WholeVerdict;
  /** The layer's uncompressed tar. To be used by itself only if the verdict is `right`. */
  readonly dataPath: string;
}

/**
 * Reads what was found out about the layer in a cache directory, and sees whether it still holds; FORMAT.md, `whole.json`.
 * @param diffId - what the image's config says: what was found out against another one does not count.
 * @throws AppError `failed_precondition` if a newer version wrote it.
 */
export async function readWholeVerdict(directory: string, diffId: Digest): Promise<JudgedCache> {
  const dataPath = join(directory, DATA_FILE);
  const found = await readVerdict(join(directory, VERDICT_FILE));
  if (found?.diffId !== diffId) return { verdict: "unknown", dataPath };
  if (found.verdict === "wrong") return { verdict: "wrong", dataPath };
  const data = await dataIdentity(directory);
  const isSame =
    found.verdict === "right" && data !== undefined && isSameData(data, found.data ?? {});
  return { verdict: isSame ? "right" : "unknown", dataPath };
}

/** Writes down what was found out, in one step. */
export async function writeWholeVerdict(
  directory: string,
  found: {
    readonly diffId: Digest;
    readonly verdict: Exclude<WholeVerdict, "unknown">;
    readonly data: DataIdentity;
  },
): Promise<void> {
  const text = JSON.stringify({ formatVersion: VERDICT_FORMAT, ...found });
  await replaceFile(join(directory, VERDICT_FILE), text);
}

/** The data file of a cache directory as it is now; `undefined` if there is none. */
export async function dataIdentity(directory: string): Promise<DataIdentity | undefined> {
  try {
    const { ino, size, mtimeNs } = await stat(join(directory, DATA_FILE), { bigint: true });
    return { ino: Number(ino), sizeBytes: Number(size), mtimeNs: String(mtimeNs) };
  } catch (error) {
    if (AppError.from(error).code === "not_found") return undefined;
    throw error;
  }
}

/** True if nothing was written to the file between the two. */
export function isSameData(one: DataIdentity, other: Partial<DataIdentity>): boolean {
  return (
    one.ino === other.ino && one.sizeBytes === other.sizeBytes && one.mtimeNs === other.mtimeNs
  );
}

interface VerdictFile {
  readonly formatVersion: number;
  readonly diffId: string;
  readonly verdict: string;
  readonly data: Partial<DataIdentity>;
}

/** What damages the file costs one more hashing, no more. */
async function readVerdict(path: string): Promise<Partial<VerdictFile> | undefined> {
  let found: Partial<VerdictFile> | null;
  try {
    found = JSON.parse(await readFile(path, "utf8")) as Partial<VerdictFile> | null;
  } catch {
    return undefined; // absent or damaged: to be found out anew
  }
  const format = found?.formatVersion;
  if (typeof format === "number" && format > VERDICT_FORMAT) {
    throw new AppError(
      "failed_precondition",
      `Cannot read "${path}": its format is ${format}, want at most ${VERDICT_FORMAT}; a newer version wrote it`,
    );
  }
  return format === VERDICT_FORMAT ? (found ?? undefined) : undefined;
}
