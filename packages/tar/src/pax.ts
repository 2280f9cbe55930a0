import { AppError, type ByteString, displayByteString, FormatError } from "@soci-ts/core";
import { type RawHeader, TAR } from "./header.ts";
import { parseDecimal, parseDecimalUint32 } from "./numeric.ts";

const SPACE = 0x20;
const EQUALS = 0x3d;
const NEWLINE = 0x0a;
const NINE = 0x39;
const ZERO = 0x30;
const PLUS = 0x2b;
/** `5 k=\n`, the shortest record. */
const SHORTEST_RECORD = 5;

/** Keys whose value may hold no NUL; in all other records it is the key that may not. */
const STRING_KEYS = new Set(["path", "linkpath", "uname", "gname"]);

/**
 * The records of a PAX extended header (POSIX pax, "Extended Header"): `"%d %s=%s\n"` each. Values are bytes.
 * @param offset - where the records start in the archive, for errors.
 * @throws FormatError if a record is malformed.
 */
export function parsePaxRecords(bytes: Buffer, offset: number): Map<ByteString, ByteString> {
  const records = new Map<ByteString, ByteString>();
  let at = 0;
  while (at < bytes.length) {
    const { keyStart, end } = parseRecordLength(bytes, at, offset);
    const equals = bytes.indexOf(EQUALS, keyStart);
    if (equals <= keyStart || equals >= end - 1) fail(offset + at, "has no key");
    const key = bytes.toString("latin1", keyStart, equals) as ByteString;
    const value = bytes.toString("latin1", equals + 1, end - 1) as ByteString;
    if ((STRING_KEYS.has(key) ? value : key).includes("\0")) fail(offset + at, "has a NUL in it");
    records.set(key, value);
    at = end;
  }
  return records;
}

function parseRecordLength(
  bytes: Buffer,
  start: number,
  offset: number,
): { keyStart: number; end: number } {
  let at = start;
  let length = 0;
  if (bytes[at] === PLUS) at += 1;
  const digitsStart = at;
  for (; at < bytes.length && bytes[at] !== SPACE; at += 1) {
    const digit = (bytes[at] as number) - ZERO;
    if (digit < 0 || digit > NINE - ZERO || length > bytes.length)
      fail(offset + start, "has no valid length");
    length = length * 10 + digit;
  }
  const keyStart = at + 1;
  const end = start + length;
  if (at === digitsStart || length < SHORTEST_RECORD || end > bytes.length || keyStart >= end) {
    fail(offset + start, "has no valid length");
  }
  if (bytes[end - 1] !== NEWLINE) fail(offset + start, "does not end in a newline");
  return { keyStart, end };
}

function fail(offset: number, what: string): never {
  throw new FormatError(TAR, offset, `the PAX record ${what}`);
}

/**
 * Puts the fields that `records` name over those of `header`. An empty value leaves the header's.
 * @param offset - where the header lies in the archive, for errors.
 * @throws FormatError if a value is malformed; AppError `unimplemented` if the entry is a sparse file.
 */
export function applyPaxRecords(
  header: RawHeader,
  records: ReadonlyMap<ByteString, ByteString>,
  offset: number,
): void {
  for (const [key, value] of records) {
    if (key.startsWith("GNU.sparse.")) refuseSparse(header, records, key, offset);
    if (value !== "" && !applyRecord(header, key, value)) {
      throw new FormatError(
        TAR,
        offset,
        `the PAX record ${key} of ${show(header.name)} is ${show(value)}, want a number`,
      );
    }
  }
}

function applyRecord(header: RawHeader, key: ByteString, value: ByteString): boolean {
  switch (key as string) {
    case "path":
      header.name = value;
      return true;
    case "linkpath":
      header.linkname = value;
      return true;
    case "uname":
      header.uname = value;
      return true;
    case "gname":
      header.gname = value;
      return true;
    case "uid":
      header.uid = parseDecimalUint32(value);
      return !Number.isNaN(header.uid);
    case "gid":
      header.gid = parseDecimalUint32(value);
      return !Number.isNaN(header.gid);
    case "size":
      header.sizeBytes = parseDecimal(value);
      return !Number.isNaN(header.sizeBytes);
    case "mtime": {
      const time = parsePaxTime(value);
      header.mtimeSec = time.seconds;
      header.mtimeNsec = time.nanoseconds;
      return !Number.isNaN(time.seconds);
    }
    case "atime":
    case "ctime":
      return !Number.isNaN(parsePaxTime(value).seconds);
    default:
      return true;
  }
}

const NANOSECOND_DIGITS = 9;
const NANOSECONDS = 1_000_000_000;

/** A time as `[-]seconds[.fraction]`; digits past the ninth are dropped. `seconds` is NaN if it is malformed. Nanoseconds count upwards, also before 1970. */
export function parsePaxTime(text: string): { seconds: number; nanoseconds: number } {
  const dot = text.indexOf(".");
  const whole = dot < 0 ? text : text.slice(0, dot);
  const fraction = dot < 0 ? "" : text.slice(dot + 1);
  const seconds = /^\d*$/.test(fraction) ? parseDecimal(whole) : Number.NaN;
  const digits = fraction.slice(0, NANOSECOND_DIGITS).padEnd(NANOSECOND_DIGITS, "0");
  const nanoseconds = Number(digits);
  if (whole.startsWith("-") && nanoseconds > 0) {
    return { seconds: seconds - 1, nanoseconds: NANOSECONDS - nanoseconds };
  }
  return { seconds, nanoseconds };
}

const SPARSE_VERSIONS = new Set(["0.0", "0.1", "1.0"]);

/** Throws if the records say that the entry is a sparse file; those of unknown versions mean nothing, as in Go. */
function refuseSparse(
  header: RawHeader,
  records: ReadonlyMap<ByteString, ByteString>,
  key: string,
  offset: number,
): void {
  const get = (name: string): string => records.get(name as ByteString) ?? "";
  const version = `${get("GNU.sparse.major")}.${get("GNU.sparse.minor")}`;
  const isSparse =
    SPARSE_VERSIONS.has(version) ||
    key === "GNU.sparse.offset" ||
    key === "GNU.sparse.numbytes" ||
    (version === "." && get("GNU.sparse.map") !== "");
  if (!isSparse) return;
  const name = get("GNU.sparse.name") || get("path") || header.name;
  throw new AppError(
    "unimplemented",
    `Cannot read tar at offset ${offset}: ${show(name as ByteString)} is a sparse file (${key}), want a plain one`,
    { details: { format: TAR, offset } },
  );
}

function show(value: ByteString): string {
  return JSON.stringify(displayByteString(value));
}
