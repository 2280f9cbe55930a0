/** A half-open range of bytes. */
export interface ByteRange {
  readonly start: number;
  readonly end: number;
}

/**
 * The part of `sizeBytes` that a `Range` header asks for (RFC 9110 §14.2). Undefined means "send all": no header, another
 * unit, several ranges (nobody needs them of a blob, and many small ones cost more than the whole) or nonsense. A range
 * that ends before it starts is `unsatisfiable` too. Numbers may have any length: past the end is past the end.
 */
export function parseRange(
  header: string | undefined,
  sizeBytes: number,
): ByteRange | "unsatisfiable" | undefined {
  const match = /^bytes=(\d*)-(\d*)$/i.exec(header?.trim() ?? "");
  if (match === null) return undefined;
  const [, first = "", last = ""] = match;
  if (first === "" && last === "") return undefined;
  const start = first === "" ? Math.max(0, sizeBytes - Number(last)) : Number(first);
  const end = first === "" || last === "" ? sizeBytes : Math.min(Number(last) + 1, sizeBytes);
  return start < end ? { start, end } : "unsatisfiable";
}

/**
 * The place of a chunk in its upload: `<first>-<last>`, both inclusive (distribution-spec v1.1.1 §Pushing a blob in chunks),
 * also in the form of RFC 9110 (`bytes <first>-<last>/<size or *>`). `invalid` if it is neither.
 */
export function parseContentRange(header: string | undefined): ByteRange | "invalid" | undefined {
  if (header === undefined) return undefined;
  const match = /^(?:bytes[ =])?(\d{1,15})-(\d{1,15})(?:\/(?:\d+|\*))?$/.exec(header.trim());
  if (match === null) return "invalid";
  const start = Number(match[1]);
  const end = Number(match[2]) + 1;
  return start < end ? { start, end } : "invalid";
}
