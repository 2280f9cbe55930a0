import { AppError } from "@soci-ts/core";
import type { IndexDifference, SpanRange } from "@soci-ts/layer-index";
import type { PrefetchListEntry } from "./soci-index.ts";

/** What a prefetch list is held against. */
export interface VerifyPrefetchOptions {
  /** Reads a list and checks its digest and form. */
  readonly readPrefetchList: (entry: PrefetchListEntry) => Promise<readonly SpanRange[]>;
  /** Of the layer's ztoc. */
  readonly spanCount: number;
}

/**
 * Whether a layer's prefetch list can be read and names spans that the layer has. Which of them are worth fetching early is its maker's
 * opinion. @returns the difference.
 */
export async function verifyPrefetchList(
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
