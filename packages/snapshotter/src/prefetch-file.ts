import { readFile, rm } from "node:fs/promises";
import { AppError } from "@soci-ts/core";
import type { SpanRange } from "@soci-ts/layer-index";
import { encodePrefetchList, parsePrefetchList } from "@soci-ts/soci";
import { replaceFile } from "./mount-directories.ts";

/*
 * What is still to be prefetched of a layer, as a file beside what the layer is opened by: written by the process that mounts, deleted by the
 * one that serves when it has done what it says. Nothing depends on it.
 */

/** Leaves a layer's list behind, without spans that the layer does not have; nothing if none are left. */
export async function writePrefetchFile(
  path: string,
  ranges: readonly SpanRange[],
  { spanCount }: { readonly spanCount: number },
): Promise<void> {
  const last = spanCount - 1;
  const there = ranges
    .filter(({ startSpan }) => startSpan <= last)
    .map(({ startSpan, endSpan }) => ({ startSpan, endSpan: Math.min(endSpan, last) }));
  if (there.length === 0) return;
  await replaceFile(path, encodePrefetchList(there), { flush: false });
}

/**
 * What is still to be prefetched; `undefined`: nothing. A file that is damaged is deleted: it is in nobody's way any longer.
 * @throws FormatError if it was.
 */
export async function readPrefetchFile(path: string): Promise<readonly SpanRange[] | undefined> {
  let bytes: Uint8Array;
  try {
    bytes = await readFile(path);
  } catch (error) {
    if (AppError.from(error).code === "not_found") return undefined;
    throw error;
  }
  try {
    return parsePrefetchList(bytes);
  } catch (error) {
    await removePrefetchFile(path);
    throw error;
  }
}

/** A layer's list is done with. */
export async function removePrefetchFile(path: string): Promise<void> {
  await rm(path, { force: true });
}
