import { delay } from "@soci-ts/core";
import type { BlobFiles } from "./blob-files.ts";
import { type Cursor, FIRST, type GarbageTable, type StepLimits } from "./catalogue/garbage.ts";
import { GC_BLOBS_PER_STEP, GC_MANIFESTS_PER_STEP } from "./limits.ts";
import type { Reserve } from "./reserve.ts";

/**
 * What counts as garbage. Times are counted from when a thing was last let go of: a blob by its upload, a mount, a client's HEAD, or the removal of a
 * manifest that needed it; a manifest by its push, or the loss of a tag or index that named it.
 */
export interface GarbagePolicy {
  /** A blob that no manifest of its repository refers to goes after this many milliseconds; longer than any push takes. */
  readonly graceMs: number;
  /** A manifest that no tag, no index and no subject stands for goes after this long; undefined: never, since it can be pulled by its digest. */
  readonly untaggedKeepMs?: number | undefined;
  /**
   * A referrer goes this long after its subject was removed from its repository; undefined: never. One whose subject never was there stays: the image is in
   * another registry. So do referrers that have a tag or stand in an index.
   */
  readonly orphanKeepMs?: number | undefined;
}

/** What one collection did. */
export interface GarbageReport {
  /** Blobs whose files were removed, and their bytes. */
  readonly blobs: number;
  readonly freedBytes: number;
  /** Untagged manifests that were removed. */
  readonly manifests: number;
  /** Referrers that were removed because their subject is gone. */
  readonly referrers: number;
}

/** What a collection works on. */
export interface GarbageRoom {
  readonly garbage: GarbageTable;
  readonly files: BlobFiles;
  readonly reserve: Reserve;
}

/**
 * Collects garbage while requests are served. Every step is one transaction over a bounded number of rows, in which a file's row goes before the file, and
 * which no push can get into; after each step the event loop has as much time for others as the step took.
 * @throws AppError `cancelled` on abort, between two steps; as the catalogue does, and then nothing of that step was removed.
 */
export async function collectGarbage(
  room: GarbageRoom,
  policy: GarbagePolicy,
  options: { readonly signal?: AbortSignal | undefined } = {},
): Promise<GarbageReport> {
  const { signal } = options;
  const start = Date.now();
  const referrers = await collectReferrers(room, policy, start, signal);
  const manifests = await collectUntagged(room, policy, start, signal);
  return { ...(await collectBlobs(room, policy, start, signal)), manifests, referrers };
}

async function collectBlobs(
  { garbage, files }: GarbageRoom,
  { graceMs }: GarbagePolicy,
  start: number,
  signal: AbortSignal | undefined,
): Promise<Pick<GarbageReport, "blobs" | "freedBytes">> {
  const limits: StepLimits = { rows: GC_BLOBS_PER_STEP, cutoffMs: start - graceMs };
  let blobs = 0;
  let freedBytes = 0;
  let at: Cursor | undefined = FIRST;
  while (at !== undefined) {
    const after: Cursor = at;
    const step = await paced(signal, async () => {
      const found = garbage.sweepBlobs(after, limits);
      // The files lose their names in the same turn as the rows go: a push of the same blob comes before or after both.
      await Promise.all(found.removed.map(({ digest }) => files.remove(digest)));
      return found;
    });
    blobs += step.removed.length;
    for (const { sizeBytes } of step.removed) freedBytes += sizeBytes;
    at = step.next;
  }
  return { blobs, freedBytes };
}

async function collectReferrers(
  { garbage }: GarbageRoom,
  { orphanKeepMs }: GarbagePolicy,
  start: number,
  signal: AbortSignal | undefined,
): Promise<number> {
  if (orphanKeepMs === undefined) return 0;
  const limits: StepLimits = { rows: GC_MANIFESTS_PER_STEP, cutoffMs: start - orphanKeepMs };
  let removed = 0;
  let at: Cursor = FIRST;
  for (;;) {
    const next = garbage.nextRemovedSubject(at, limits.cutoffMs);
    if (next === undefined) return removed;
    at = next;
    let afterId: number | undefined = 0;
    while (afterId !== undefined) {
      const after: number = afterId;
      const step = await paced(signal, () => garbage.sweepReferrers(next, after, limits));
      removed += step.removed.length;
      afterId = step.seen < limits.rows ? undefined : step.next;
    }
  }
}

async function collectUntagged(
  { garbage }: GarbageRoom,
  { untaggedKeepMs }: GarbagePolicy,
  start: number,
  signal: AbortSignal | undefined,
): Promise<number> {
  if (untaggedKeepMs === undefined) return 0;
  const limits: StepLimits = { rows: GC_MANIFESTS_PER_STEP, cutoffMs: start - untaggedKeepMs };
  let removed = 0;
  let afterId: number | undefined = 0;
  while (afterId !== undefined) {
    const after: number = afterId;
    const step = await paced(signal, () => garbage.sweepUntagged(after, limits));
    removed += step.removed.length;
    afterId = step.next;
  }
  return removed;
}

/** Runs a step, and then lets others run for as long as the step held the event loop, which is until its first `await`. */
async function paced<T>(signal: AbortSignal | undefined, work: () => T | Promise<T>): Promise<T> {
  signal?.throwIfAborted();
  const start = performance.now();
  const under = work();
  const heldMs = performance.now() - start;
  const result = await under;
  await delay(Math.ceil(heldMs), signal);
  return result;
}
