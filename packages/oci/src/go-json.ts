/**
 * A value as Go's encoding/json sees it. A plain object is a struct: its keys are written in insertion order and those
 * that are undefined are left out. A Map is a Go map: its keys are sorted by their UTF-8 bytes.
 */
export type GoJson =
  | string
  | number
  | boolean
  | null
  | readonly GoJson[]
  | ReadonlyMap<string, GoJson>
  | { readonly [field: string]: GoJson | undefined };

/**
 * The bytes that Go's `json.Marshal` writes for `value`: compact, HTML-escaped, no newline at the end. Needed because
 * SOCI's reader marshals an index again and compares the digest.
 * @throws TypeError for a number that is not a safe integer; nothing here has one.
 */
export function goJson(value: GoJson): Uint8Array {
  return Buffer.from(text(value), "utf8");
}

function text(value: GoJson): string {
  if (typeof value === "string") return quoted(value);
  if (value === null || typeof value === "boolean") return String(value);
  if (typeof value === "number") {
    if (!Number.isSafeInteger(value)) throw new TypeError(`Cannot write ${value} as a Go integer`);
    return String(value);
  }
  if (isArray(value)) return `[${value.map(text).join(",")}]`;
  const fields = value instanceof Map ? sortedFields(value) : Object.entries(value);
  const written: string[] = [];
  for (const [key, field] of fields) {
    if (field !== undefined) written.push(`${quoted(key)}:${text(field)}`);
  }
  return `{${written.join(",")}}`;
}

function isArray(value: GoJson): value is readonly GoJson[] {
  return Array.isArray(value);
}

/** Go sorts map keys as byte strings, which differs from UTF-16 order above U+D7FF. */
function sortedFields(map: ReadonlyMap<string, GoJson>): [string, GoJson][] {
  return [...map].sort(([a], [b]) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
}

const ESCAPES: Readonly<Record<string, string>> = {
  '"': '\\"',
  "\\": "\\\\",
  "\b": "\\b",
  "\f": "\\f",
  "\n": "\\n",
  "\r": "\\r",
  "\t": "\\t",
};

// biome-ignore lint/suspicious/noControlCharactersInRegex: JSON escapes exactly these
const ESCAPED = /["\\<>&\u0000-\u001f\u2028\u2029]/g;

function quoted(value: string): string {
  return `"${value.replace(ESCAPED, escapeChar)}"`;
}

function escapeChar(char: string): string {
  return ESCAPES[char] ?? `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`;
}
