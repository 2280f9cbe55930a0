import { AppError } from "@soci-ts/core";
import type { Labels } from "@soci-ts/snapshotter";

/** Longest key or name of a snapshot, in bytes of UTF-8. */
export const MAX_KEY_BYTES = 4096;
/** Longest label, key and value together, in bytes of UTF-8: containerd's own limit. */
export const MAX_LABEL_BYTES = 4096;
/** Most labels of one snapshot: containerd and its clients set some ten. */
export const MAX_LABELS = 512;
/** Largest message that is taken, in bytes. */
export const MAX_REQUEST_BYTES: number = 4 * 1024 * 1024;
/** Snapshots in one message of a list, as containerd does it. */
export const LIST_BATCH = 100;

/** @throws AppError `invalid_argument` if `text` can't name a snapshot: it is empty, or too long. */
export function checkKey(what: "key" | "name", text: string): void {
  if (text === "") throw invalid(`Cannot use an empty snapshot ${what}`);
  checkLength(`snapshot ${what}`, text, MAX_KEY_BYTES);
}

/** As {@link checkKey}, but "" is good: the snapshot at the bottom has no parent. */
export function checkParent(parent: string): void {
  checkLength("parent", parent, MAX_KEY_BYTES);
}

/** @throws AppError `invalid_argument` if there are too many labels, or one is too long. */
export function checkLabels(labels: Labels): void {
  const entries = Object.entries(labels);
  if (entries.length > MAX_LABELS) {
    throw invalid(`Cannot use ${entries.length} labels: want at most ${MAX_LABELS}`);
  }
  for (const [key, value] of entries) {
    const length = Buffer.byteLength(key) + Buffer.byteLength(value);
    if (length > MAX_LABEL_BYTES) {
      throw invalid(
        `Cannot use label ${shown(key)}: key and value have ${length} bytes, want at most ${MAX_LABEL_BYTES}`,
      );
    }
  }
}

function checkLength(what: string, text: string, maxBytes: number): void {
  const length = Buffer.byteLength(text);
  if (length <= maxBytes) return;
  throw invalid(
    `Cannot use ${what} ${shown(text)}: it has ${length} bytes, want at most ${maxBytes}`,
  );
}

function shown(text: string): string {
  return JSON.stringify(text.length > 60 ? `${text.slice(0, 60)}…` : text);
}

function invalid(message: string): AppError {
  return new AppError("invalid_argument", message);
}
