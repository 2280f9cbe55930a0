import type { RawAnswer } from "@soci-ts/registry-client";
import type { ByteRange } from "../range.ts";

/** Asks the upstream for a blob, or for a range of it. */
export type OpenBlob = (range?: ByteRange) => Promise<RawAnswer>;

/** The length in bytes of content that comes as it is; undefined if it is not told, or encoded. */
export function plainLength({ headers }: RawAnswer): number | undefined {
  const text = headers["content-length"] ?? "";
  const isPlain = (headers["content-encoding"] ?? "identity") === "identity";
  return isPlain && /^\d{1,15}$/.test(text) ? Number(text) : undefined;
}

/** The size in bytes of the whole of which an answer holds a range; undefined if it holds none, or that is not told. */
export function wholeLength({ status, headers }: RawAnswer): number | undefined {
  const told = /^bytes \d{1,15}-\d{1,15}\/(\d{1,15})$/i.exec(headers["content-range"] ?? "")?.[1];
  const isPlain = (headers["content-encoding"] ?? "identity") === "identity";
  return status === 206 && isPlain && told !== undefined ? Number(told) : undefined;
}

/** True if it holds a range that begins at `start`. */
export function isRangeFrom({ status, headers }: RawAnswer, start: number): boolean {
  const told = /^bytes (\d{1,15})-/i.exec(headers["content-range"] ?? "")?.[1];
  return status === 206 && told !== undefined && Number(told) === start;
}
