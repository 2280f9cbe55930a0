import { type ByteString, FormatError } from "@soci-ts/core";
import { parseNumber, parseOctal, parseUint32 } from "./numeric.ts";

/** Size of a header and of the unit that data is padded to. */
export const BLOCK_BYTES = 512;

/** The format name in errors. */
export const TAR = "tar";

/** The byte string without bytes. */
export const EMPTY = "" as ByteString;

/** What one header block says by itself, before long-name and PAX headers are merged in. Sizes and times may be infinite: see `parseNumber`. */
export interface RawHeader {
  /** Char code of the type flag. */
  readonly typeflag: number;
  name: ByteString;
  linkname: ByteString;
  sizeBytes: number;
  mode: number;
  uid: number;
  gid: number;
  uname: ByteString;
  gname: ByteString;
  mtimeSec: number;
  mtimeNsec: number;
  devmajor: number;
  devminor: number;
}

/*
 * offset  size  v7, ustar, PAX, GNU, star     offset  size  ustar and PAX / GNU / star
 *      0   100  name                             257     8  magic and version
 *    100     8  mode                             265    32  user name
 *    108     8  uid                              297    32  group name
 *    116     8  gid                              329     8  device major
 *    124    12  size                             337     8  device minor
 *    136    12  mtime                            345   155  prefix (ustar); 131 in star
 *    148     8  checksum                         345    12  atime (GNU); at 476 in star
 *    156     1  type flag                        357    12  ctime (GNU); at 488 in star
 *    157   100  link name                        508     4  "tar\0" (star)
 */
type Dialect = "v7" | "ustar" | "gnu" | "star";

/** True if all bytes of the block are zero. */
export function isZeroBlock(bytes: Uint8Array, start: number): boolean {
  for (let at = start; at < start + BLOCK_BYTES; at += 1) {
    if (bytes[at] !== 0) return false;
  }
  return true;
}

/**
 * Reads the header block at `start` of `bytes`.
 * @param offset - where the block lies in the archive, for errors.
 * @param previous - an earlier header: equal owner names are taken from it, which saves time and memory.
 * @throws FormatError if the checksum is wrong or a number is malformed.
 */
export function parseHeader(
  bytes: Buffer,
  start: number,
  offset: number,
  previous?: RawHeader,
): RawHeader {
  verifyChecksum(bytes, start, offset);
  const dialect = dialectOf(bytes, start);
  const hasOwners = dialect !== "v7";
  const name = readString(bytes, start, 100);
  const header: RawHeader = {
    typeflag: bytes[start + 156] as number,
    name: hasOwners ? withPrefix(bytes, start, dialect, name, offset) : name,
    linkname: readString(bytes, start + 157, 100),
    sizeBytes: parseNumber(bytes, start + 124, start + 136),
    mode: parseNumber(bytes, start + 100, start + 108),
    uid: parseUint32(bytes, start + 108),
    gid: parseUint32(bytes, start + 116),
    uname: hasOwners ? readString(bytes, start + 265, 32, previous?.uname) : EMPTY,
    gname: hasOwners ? readString(bytes, start + 297, 32, previous?.gname) : EMPTY,
    mtimeSec: parseNumber(bytes, start + 136, start + 148),
    mtimeNsec: 0,
    devmajor: hasOwners ? parseNumber(bytes, start + 329, start + 337) : 0,
    devminor: hasOwners ? parseNumber(bytes, start + 337, start + 345) : 0,
  };
  verifyNumbers(header, offset);
  return header;
}

/** Sums up as unsigned bytes (POSIX) and as signed ones (old Sun tar), the checksum field counting as spaces; either may match. */
function verifyChecksum(bytes: Uint8Array, start: number, offset: number): void {
  let unsigned = 0;
  for (let at = start; at < start + BLOCK_BYTES; at += 4) {
    unsigned +=
      (bytes[at] as number) +
      (bytes[at + 1] as number) +
      (bytes[at + 2] as number) +
      (bytes[at + 3] as number);
  }
  for (let at = start + 148; at < start + 156; at += 1) unsigned += 0x20 - (bytes[at] as number);
  const stored = parseOctal(bytes, start + 148, start + 156);
  if (stored === unsigned || stored === signedSum(bytes, start, unsigned)) return;
  throw new FormatError(TAR, offset, `the header's checksum is ${stored}, want ${unsigned}`);
}

function signedSum(bytes: Uint8Array, start: number, unsigned: number): number {
  let sum = unsigned;
  for (let at = start; at < start + BLOCK_BYTES; at += 1) {
    const inChecksum = at >= start + 148 && at < start + 156;
    if (!inChecksum && (bytes[at] as number) >= 0x80) sum -= 0x100;
  }
  return sum;
}

function dialectOf(bytes: Uint8Array, start: number): Dialect {
  if (hasText(bytes, start + 257, "ustar\0")) {
    return hasText(bytes, start + 508, "tar\0") ? "star" : "ustar";
  }
  return hasText(bytes, start + 257, "ustar  \0") ? "gnu" : "v7";
}

function hasText(bytes: Uint8Array, start: number, text: string): boolean {
  for (let i = 0; i < text.length; i += 1) {
    if (bytes[start + i] !== text.charCodeAt(i)) return false;
  }
  return true;
}

/** The name after the prefix field, which each dialect keeps elsewhere. */
function withPrefix(
  bytes: Buffer,
  start: number,
  dialect: Dialect,
  name: ByteString,
  offset: number,
): ByteString {
  if (dialect === "gnu" && !hasMangledTimes(bytes, start)) return name;
  if (dialect === "star") {
    const atime = parseNumber(bytes, start + 476, start + 488);
    const ctime = parseNumber(bytes, start + 488, start + 500);
    if (Number.isNaN(atime) || Number.isNaN(ctime)) {
      throw new FormatError(TAR, offset, "the header's access or change time is not a number");
    }
  }
  const prefix = readString(bytes, start + 345, dialect === "star" ? 131 : 155);
  if (prefix === EMPTY || (dialect === "gnu" && /[\x80-\xff]/.test(prefix))) return name;
  return `${prefix}/${name}` as ByteString;
}

/** Early Go wrote GNU headers with a ustar prefix, over the two times: such a header has times which aren't numbers. */
function hasMangledTimes(bytes: Uint8Array, start: number): boolean {
  for (const at of [start + 345, start + 357]) {
    if (bytes[at] !== 0 && Number.isNaN(parseNumber(bytes, at, at + 12))) return true;
  }
  return false;
}

const NUMBERS = ["sizeBytes", "mode", "uid", "gid", "mtimeSec", "devmajor", "devminor"] as const;

function verifyNumbers(header: RawHeader, offset: number): void {
  // NaN is the only number whose sum with others is NaN, infinities of two signs aside: the loop then finds none.
  const { sizeBytes, mode, uid, gid, mtimeSec, devmajor, devminor } = header;
  if (!Number.isNaN(sizeBytes + mode + uid + gid + mtimeSec + devmajor + devminor)) return;
  for (const field of NUMBERS) {
    if (Number.isNaN(header[field])) {
      throw new FormatError(TAR, offset, `the header's ${field} field is not a number`);
    }
  }
}

/** The bytes up to the first NUL, at most `length`; the string `likely` itself if it is these. */
export function readString(
  bytes: Buffer,
  start: number,
  length: number,
  likely: ByteString = EMPTY,
): ByteString {
  let end = start;
  while (end < start + length && bytes[end] !== 0) end += 1;
  if (end - start === likely.length && hasText(bytes, start, likely)) return likely;
  return bytes.toString("latin1", start, end) as ByteString;
}
