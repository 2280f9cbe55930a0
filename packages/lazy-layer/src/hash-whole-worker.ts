import { createHash } from "node:crypto";
import { closeSync, openSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { parentPort, workerData } from "node:worker_threads";
import { crc32 } from "node:zlib";
import { readNothingAhead, runWhenIdle } from "@soci-ts/linux";
import { TAR_BLOCK_BYTES } from "./cache-files.ts";
import { readFullySync } from "./file-io.ts";

/** What the thread of `hash-whole.ts` is given. */
export interface HashTask {
  readonly path: string;
  /** Where each chunk ends, in order. */
  readonly ends: Float64Array;
  /** The checksum of each chunk. */
  readonly checksums: Uint32Array;
  readonly algorithm: string;
  /** The hash that is hoped for, in hex. */
  readonly wanted: string;
  /** What follows the file's bytes; not given, zeros are tried. */
  readonly tail?: Uint8Array | undefined;
}

/** What it answers: the hash, in hex, or the chunks whose bytes do not have their checksums. */
export type HashAnswer =
  | { readonly kind: "hash"; readonly hash: string }
  | { readonly kind: "corrupt"; readonly chunks: readonly number[] };

/** Chunks that are read between two pauses: a mebibyte. */
const CHUNKS_AT_ONCE = 16;
/** Padding that is tried; tar(1) writes records of 10,240 bytes, at most 8 MiB of them can be asked of it, and nobody asks. */
const MAX_PADDING_BYTES = 2 ** 20;

parentPort?.postMessage(await answer(workerData as HashTask));

/** Half of the time it sleeps, and for the other half it takes what nobody else wants of the processor. */
async function answer(task: HashTask): Promise<HashAnswer> {
  const { path, ends, checksums, algorithm, wanted, tail } = task;
  runWhenIdle();
  const hash = createHash(algorithm);
  const corrupt: number[] = [];
  const file = openSync(path, "r");
  try {
    await readNothingAhead(file);
    const memory = new Uint8Array(65_536);
    let start = 0;
    let startedAt = performance.now();
    for (const [chunk, end] of ends.entries()) {
      const bytes = memory.subarray(0, end - start);
      if (!readFullySync(file, bytes, start) || crc32(bytes) !== checksums[chunk])
        corrupt.push(chunk);
      hash.update(bytes);
      start = end;
      if (chunk % CHUNKS_AT_ONCE !== CHUNKS_AT_ONCE - 1) continue;
      await sleep(Math.ceil(performance.now() - startedAt));
      startedAt = performance.now();
    }
  } finally {
    closeSync(file);
  }
  if (corrupt.length > 0) return { kind: "corrupt", chunks: corrupt };
  const isKnown = tail !== undefined;
  return {
    kind: "hash",
    hash: isKnown ? hash.update(tail).digest("hex") : paddedHash(hash, wanted),
  };
}

/**
 * An index says where the tar ends; the zeros that fill its last record lie behind that, and the diffID covers them. The hash that is hoped
 * for if some padding gives it, else that of the bytes alone.
 */
function paddedHash(hash: ReturnType<typeof createHash>, wanted: string): string {
  const bare = hash.copy().digest("hex");
  if (bare === wanted) return bare;
  const block = new Uint8Array(TAR_BLOCK_BYTES);
  for (let padding = 0; padding < MAX_PADDING_BYTES; padding += TAR_BLOCK_BYTES) {
    hash.update(block);
    if (hash.copy().digest("hex") === wanted) return wanted;
  }
  return bare;
}
