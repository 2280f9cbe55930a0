import { AppError, type ByteString, byteStringFrom, displayByteString } from "@soci-ts/core";
import {
  MAX_XATTR_BODY_BYTES,
  XATTR_ENTRY_BYTES,
  XATTR_HEADER_BYTES,
  XATTR_PREFIXES,
} from "./format.ts";
import { MAX_NAME_BYTES, MAX_XATTR_VALUE_BYTES } from "./limits.ts";
import { setByteString } from "./numbers.ts";

const NAME_FILTER_ABSENT = 0xffffffff;

/**
 * Length of the inline body that holds `xattrs`, in bytes; 0 for none.
 * @throws AppError `invalid_argument` for a name or value that EROFS cannot hold.
 */
export function xattrBodyBytes(xattrs: ReadonlyMap<ByteString, ByteString>): number {
  if (xattrs.size === 0) return 0;
  let length = XATTR_HEADER_BYTES;
  for (const [name, value] of xattrs) {
    checkXattr(name, value);
    length += entryBytes(splitName(name).rest.length, value.length);
  }
  if (length <= MAX_XATTR_BODY_BYTES) return length;
  throw new AppError(
    "invalid_argument",
    `Cannot write xattrs: they take ${length} bytes, want at most ${MAX_XATTR_BODY_BYTES} for one file`,
  );
}

/** Writes the inline body, in the order of names, at `offset`. */
export function writeXattrs(
  bytes: Uint8Array,
  offset: number,
  xattrs: ReadonlyMap<ByteString, ByteString>,
): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  // A clear bit in the name filter promises that a name is absent only where the feature is on; all ones is the neutral value.
  view.setUint32(offset, NAME_FILTER_ABSENT, true);
  let at = offset + XATTR_HEADER_BYTES;
  for (const name of [...xattrs.keys()].sort()) {
    const value = xattrs.get(name) ?? "";
    const { index, rest } = splitName(name);
    view.setUint8(at, rest.length);
    view.setUint8(at + 1, index);
    view.setUint16(at + 2, value.length, true);
    setByteString(bytes, at + XATTR_ENTRY_BYTES, rest);
    setByteString(bytes, at + XATTR_ENTRY_BYTES + rest.length, value);
    at += entryBytes(rest.length, value.length);
  }
}

/** An inline body that does not hold what it says. The reader makes it a FormatError that names the place. */
export type XattrFault = (at: number, message: string) => never;

/** Reads an inline body: `bytes` is exactly the body. The first of equal names counts, as in the kernel. */
export function readXattrs(bytes: Uint8Array, fault: XattrFault): Map<ByteString, ByteString> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const xattrs = new Map<ByteString, ByteString>();
  if (view.getUint8(4) !== 0) fault(4, "the inode uses shared xattrs, want inline ones only");
  let at = XATTR_HEADER_BYTES;
  while (at < bytes.length) {
    const nameLength = view.getUint8(at);
    const valueStart = at + XATTR_ENTRY_BYTES + nameLength;
    const valueEnd = valueStart + view.getUint16(at + 2, true);
    const next = at + entryBytes(nameLength, valueEnd - valueStart);
    if (next > bytes.length)
      fault(at, `the xattr ends ${next - bytes.length} bytes after the body`);
    const prefix = XATTR_PREFIXES.find(([index]) => index === view.getUint8(at + 1))?.[1];
    if (prefix === undefined) fault(at, `xattr prefix ${view.getUint8(at + 1)} is unknown`);
    const rest = byteStringFrom(bytes.subarray(at + XATTR_ENTRY_BYTES, valueStart));
    if (isWholeName(prefix) !== (rest === "") || rest.includes("\0")) {
      fault(at, `the xattr's name is ${JSON.stringify(prefix + rest)}`);
    }
    const name = (prefix + rest) as ByteString;
    if (!xattrs.has(name)) xattrs.set(name, byteStringFrom(bytes.subarray(valueStart, valueEnd)));
    at = next;
  }
  return xattrs;
}

function entryBytes(nameLength: number, valueLength: number): number {
  return Math.ceil((XATTR_ENTRY_BYTES + nameLength + valueLength) / 4) * 4;
}

function isWholeName(prefix: string): boolean {
  return !prefix.endsWith(".");
}

function splitName(name: ByteString): { index: number; rest: string } {
  for (const [index, prefix] of XATTR_PREFIXES) {
    if (isWholeName(prefix) ? name === prefix : name.startsWith(prefix)) {
      return { index, rest: name.slice(prefix.length) };
    }
  }
  return { index: 0, rest: name };
}

function checkXattr(name: ByteString, value: ByteString): void {
  const { index, rest } = splitName(name);
  const prefix = XATTR_PREFIXES.find((entry) => entry[0] === index)?.[1];
  const isNamed = prefix !== undefined && (isWholeName(prefix) || rest !== "");
  if (!isNamed || name.includes("\0") || name.length > MAX_NAME_BYTES) {
    throw new AppError(
      "invalid_argument",
      `Cannot write xattr "${displayByteString(name)}": want a name of at most ${MAX_NAME_BYTES} bytes in user., trusted., security. or an ACL's name`,
    );
  }
  if (value.length > MAX_XATTR_VALUE_BYTES) {
    throw new AppError(
      "invalid_argument",
      `Cannot write xattr "${displayByteString(name)}": its value has ${value.length} bytes, want at most ${MAX_XATTR_VALUE_BYTES}`,
    );
  }
}
