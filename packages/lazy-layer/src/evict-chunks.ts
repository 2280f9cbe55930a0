import type { FileHandle } from "node:fs/promises";
import { crc32 } from "node:zlib";
import { CHUNK_BYTES, type Chunk } from "./chunk-map.ts";
import type { Presence } from "./presence.ts";

/** Gives the disk space of a file's bytes [start, end) back; they are zeros then. Rejects if it can't. */
export type PunchHole = (fd: number, start: number, end: number) => Promise<void>;

/** What became of chunks that were to go. */
export interface EvictedChunks {
  readonly chunks: number;
  /** Bytes of the tar that are not in the file any more. */
  readonly sizeBytes: number;
  /** Why their disk space may not be free, if it may not be. */
  readonly failure?: unknown;
}

/** Nothing had to go, or could. */
export const NOTHING_EVICTED: EvictedChunks = { chunks: 0, sizeBytes: 0 };

/**
 * Takes chunks out of a data file. They are marked absent first, in memory and on the disk, and their bytes go after that: whatever kills this in
 * between leaves bytes that nobody counts on.
 *
 * A data file with a second name is read by the kernel without us, so none of its chunks go. Whoever gives it that name looks at the
 * presence file after that, and this looks at the names after it has marked: one of the two sees the other.
 *
 * A chunk whose checksum is that of zeros stays: another process that believes it to be there would take the hole for it.
 */
export async function evictChunks(
  { data, presence }: { readonly data: FileHandle; readonly presence: Presence },
  chunks: readonly Chunk[],
  punchHole: PunchHole,
): Promise<EvictedChunks> {
  const going = chunks.filter(
    ({ number, start, end }) =>
      presence.has(number) && presence.checksum(number) !== checksumOfZeros(end - start),
  );
  if (going.length === 0 || (await isShared(data))) return NOTHING_EVICTED;
  const numbers = going.map(({ number }) => number);
  const sizeBytes = going.reduce((total, { start, end }) => total + end - start, 0);
  let outcome: "absent" | "present" = "absent";
  try {
    await presence.leave(numbers);
    if (await isShared(data)) {
      outcome = "present";
      return NOTHING_EVICTED;
    }
    for (const { start, end } of runsOf(going)) await punchHole(data.fd, start, end);
    return { chunks: going.length, sizeBytes };
  } catch (failure) {
    return { chunks: going.length, sizeBytes, failure };
  } finally {
    await presence.left(numbers, outcome);
  }
}

/** True if the file has a second name. */
export async function isShared(data: FileHandle): Promise<boolean> {
  return (await data.stat()).nlink > 1;
}

/** Ranges that follow each other, as one. */
export function* runsOf(
  ranges: Iterable<{ readonly start: number; readonly end: number }>,
): Generator<{ readonly start: number; readonly end: number }> {
  let run: { readonly start: number; readonly end: number } | undefined;
  for (const { start, end } of ranges) {
    if (run !== undefined && run.end !== start) yield run;
    run = { start: run?.end === start ? run.start : start, end };
  }
  if (run !== undefined) yield run;
}

const ZEROS = new Uint8Array(CHUNK_BYTES);
const WHOLE_CHUNK_OF_ZEROS = crc32(ZEROS);

function checksumOfZeros(sizeBytes: number): number {
  return sizeBytes === CHUNK_BYTES ? WHOLE_CHUNK_OF_ZEROS : crc32(ZEROS.subarray(0, sizeBytes));
}
