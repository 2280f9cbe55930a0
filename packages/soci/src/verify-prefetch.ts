import { AppError } from "@soci-ts/core";
import type { IndexDifference, SpanRange } from "@soci-ts/layer-index";
import type { PrefetchListEntry } from "./soci-index.ts";

/** What prefetch lists are held against. */
export interface VerifyPrefetchOptions {
  /** Reads a list and checks its digest and form. */
  readonly readPrefetchList: (entry: PrefetchListEntry) => Promise<readonly SpanRange[]>;
  /** Of the layer's ztoc. */
  readonly spanCount: number;
}

/**
 * Whether a layer's prefetch lists can be read and name spans that the layer has. Which of them are worth fetching early is their maker's
 * opinion. @returns the first difference.
 */
export async function verifyPrefetchLists(
  lists: readonly PrefetchListEntry[],
  options: VerifyPrefetchOptions,
): Promise<IndexDifference | undefined> {
  for (const entry of lists) {
    const difference = await verifyOne(entry, options);
    if (difference !== undefined) return difference;
  }
  return undefined;
}

async function verifyOne(
  entry: PrefetchListEntry,
  { readPrefetchList, spanCount }: VerifyPrefetchOptions,
): Promise<IndexDifference | undefined> {
  let ranges: readonly SpanRange[];
  try {
    ranges = await readPrefetchList(entry);
  } catch (error) {
    const { code, message } = AppError.from(error);
    if (code !== "not_found" && code !== "data_loss" && code !== "resource_exhausted") throw error;
    return { part: "prefetch", field: "list", want: entry.digest, have: message };
  }
  // The reference names the span after a file's last one too, whether there is one or not.
  const beyond = ranges.find((range) => range.startSpan >= spanCount || range.endSpan > spanCount);
  if (beyond === undefined) return undefined;
  const have = `${beyond.startSpan} to ${beyond.endSpan}`;
  return { part: "prefetch", field: "spans", want: `below ${spanCount}`, have };
}
