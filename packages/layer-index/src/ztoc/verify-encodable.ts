import { AppError, displayByteString, roundUp } from "@soci-ts/core";
import type { TarEntry } from "@soci-ts/tar";
import type { EncodableIndex } from "../types.ts";
import { isModTime } from "./mod-time.ts";

const BLOCK_BYTES = 512;

/**
 * Checks that a reader of the ztoc would find what the index says. A ztoc does not store where headers lie: its readers
 * take each to start where the data before it, as the size field has it, ends.
 * @throws AppError `unimplemented` naming the entry.
 */
export function verifyEncodable(index: EncodableIndex): void {
  if (index.spans.length === 0) throw unencodable("the layer has no span, want one or more");
  let header = 0;
  for (const entry of index.entries) {
    if (entry.headerOffset !== header) {
      throw unencodable(
        `the header of ${show(entry)} is at ${entry.headerOffset}, want ${header} where the entry before it ends: readers look for it there`,
      );
    }
    if (entry.type !== "reg" && entry.sizeBytes !== 0) {
      throw unencodable(`${show(entry)} is a ${entry.type} of size ${entry.sizeBytes}, want 0`);
    }
    if (!isModTime(entry.mtimeSec)) {
      throw unencodable(
        `the time of ${show(entry)} is ${entry.mtimeSec} s, want the years 0 to 9999`,
      );
    }
    header = roundUp(entry.dataOffset + entry.sizeBytes, BLOCK_BYTES);
  }
}

function show(entry: TarEntry): string {
  return JSON.stringify(displayByteString(entry.name));
}

function unencodable(state: string): AppError {
  return new AppError("unimplemented", `Cannot encode ztoc: ${state}`);
}
