import { AppError, displayByteString, roundUp } from "@soci-ts/core";
import type { TarEntry } from "@soci-ts/tar";
import type { EncodableIndex } from "../types.ts";
import { isModTime } from "./mod-time.ts";

const BLOCK_BYTES = 512;

/** @throws AppError `unimplemented` for a layer without spans. */
export function verifySpans({ spans, entries }: EncodableIndex): void {
  if (spans.length === 0) throw unencodable("the layer has no span, want one or more");
  const first = entries.at(0);
  if (first !== undefined) verifyHeader(first, 0);
}

/**
 * Checks that a reader of the ztoc would find what the index says of an entry. A ztoc does not store where headers lie: its readers
 * take each to start where the data before it, as the size field has it, ends.
 * @param next - the entry behind it.
 * @throws AppError `unimplemented` naming the entry.
 */
export function verifyEntry(entry: TarEntry, next: TarEntry | undefined): void {
  if (next !== undefined) {
    verifyHeader(next, roundUp(entry.dataOffset + entry.sizeBytes, BLOCK_BYTES));
  }
  if (entry.type !== "reg" && entry.sizeBytes !== 0) {
    throw unencodable(`${show(entry)} is a ${entry.type} of size ${entry.sizeBytes}, want 0`);
  }
  if (isModTime(entry.mtimeSec)) return;
  throw unencodable(`the time of ${show(entry)} is ${entry.mtimeSec} s, want the years 0 to 9999`);
}

function verifyHeader(entry: TarEntry, want: number): void {
  if (entry.headerOffset === want) return;
  throw unencodable(
    `the header of ${show(entry)} is at ${entry.headerOffset}, want ${want} where the entry before it ends: readers look for it there`,
  );
}

function show(entry: TarEntry): string {
  return JSON.stringify(displayByteString(entry.name));
}

function unencodable(state: string): AppError {
  return new AppError("unimplemented", `Cannot encode ztoc: ${state}`);
}
