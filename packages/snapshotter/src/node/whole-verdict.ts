import { readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import type { Digest } from "@soci-ts/core";

/** A cache directory and what was found out about the bytes in it. */
export interface JudgedCache {
  readonly verdict: "right" | "wrong" | "unknown";
  /** The layer's uncompressed tar. To be used by itself only if the verdict is `right`. */
  readonly dataPath: string;
}

/** Reads what was found out about the layer in a cache directory, and sees whether its data file is still the same. */
export async function readWholeVerdict(directory: string, diffId: Digest): Promise<JudgedCache> {
  const dataPath = join(directory, "data");
  const found = await readVerdict(join(directory, "whole.json"));
  if (found?.["formatVersion"] !== 1 || found["diffId"] !== diffId) {
    return { verdict: "unknown", dataPath };
  }
  if (found["verdict"] === "wrong") return { verdict: "wrong", dataPath };
  const { ino, size, mtimeNs } = await stat(dataPath, { bigint: true });
  const { ino: itsIno, sizeBytes, mtimeNs: itsMtime } = (found["data"] ?? {}) as DataRecord;
  const isSame =
    itsIno === Number(ino) && sizeBytes === Number(size) && itsMtime === String(mtimeNs);
  return { verdict: found["verdict"] === "right" && isSame ? "right" : "unknown", dataPath };
}

interface DataRecord {
  readonly ino?: number;
  readonly sizeBytes?: number;
  readonly mtimeNs?: string;
}

async function readVerdict(path: string): Promise<Readonly<Record<string, unknown>> | undefined> {
  try {
    return JSON.parse(await readFile(path, "utf8")) as Readonly<Record<string, unknown>>;
  } catch {
    return undefined; // absent or damaged: nothing is known
  }
}
