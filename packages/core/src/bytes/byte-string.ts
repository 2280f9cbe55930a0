/**
 * Bytes kept in a JavaScript string, one char code (0–255) for each byte: cheap to compare, to use as a map key and to
 * keep, and never altered by a text decoder. Names, link targets and xattrs that come from a tar are of this type.
 */
export type ByteString = string & { readonly __byteString: true };

/** The byte string with these bytes. */
export function byteStringFrom(bytes: Uint8Array): ByteString {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString(
    "latin1",
  ) as ByteString;
}

/** The byte string that holds `text` in UTF-8. */
export function byteStringFromText(text: string): ByteString {
  return Buffer.from(text, "utf8").toString("latin1") as ByteString;
}

/** A fresh array of the bytes. */
export function byteStringBytes(value: ByteString): Uint8Array {
  return Buffer.from(value, "latin1");
}

/** Orders byte strings by their bytes. */
export function compareByteStrings(a: ByteString, b: ByteString): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}

const UNSHOWABLE_CHARS = /[^ -~\u00a0-\uffff]|\\/g;
const UNSHOWABLE_BYTES = /[^ -~]|\\/g;

/** The one way to show a byte string to a person: UTF-8 where it is that, else `\xNN`; controls and backslashes are escaped. */
export function displayByteString(value: ByteString): string {
  const bytes = byteStringBytes(value);
  const text = Buffer.from(bytes).toString("utf8");
  const isUtf8 = Buffer.from(text, "utf8").equals(bytes);
  return isUtf8
    ? text.replace(UNSHOWABLE_CHARS, escapeChar)
    : value.replace(UNSHOWABLE_BYTES, escapeChar);
}

function escapeChar(char: string): string {
  if (char === "\\") return "\\\\";
  return `\\x${char.charCodeAt(0).toString(16).padStart(2, "0")}`;
}
