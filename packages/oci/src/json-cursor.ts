import { type Digest, FormatError, isDigest } from "@soci-ts/core";
import { MAX_JSON_DEPTH } from "./limits.ts";
import { decodeUtf8AsGo } from "./utf8.ts";

/** A value inside a JSON document, with the path that leads to it; every accessor checks the type. */
export class JsonCursor {
  readonly #value: unknown;
  readonly #path: string;
  readonly #format: string;

  constructor(value: unknown, path: string, format: string) {
    this.#value = value;
    this.#path = path;
    this.#format = format;
  }

  /** The field of this object; undefined if it is absent or null, which Go treats alike. */
  optional(key: string): JsonCursor | undefined {
    const object = this.object();
    const value = Object.hasOwn(object, key) ? object[key] : undefined;
    if (value === undefined || value === null) return undefined;
    return new JsonCursor(value, `${this.#path}${pathStep(key)}`, this.#format);
  }

  /** The field of this object, which must be there. */
  required(key: string): JsonCursor {
    return this.optional(key) ?? this.fail(`has no "${key}", want one`);
  }

  /** This value, which must be an object. */
  object(): Readonly<Record<string, unknown>> {
    if (typeof this.#value !== "object" || this.#value === null || Array.isArray(this.#value)) {
      return this.fail(`is ${kindOf(this.#value)}, want an object`);
    }
    return this.#value as Record<string, unknown>;
  }

  /** The items of this array. */
  array(maxItems: number): JsonCursor[] {
    if (!Array.isArray(this.#value)) {
      return this.fail(`is ${kindOf(this.#value)}, want an array`);
    }
    if (this.#value.length > maxItems) {
      return this.fail(`has ${this.#value.length} items, want at most ${maxItems}`);
    }
    return this.#value.map(
      (item, at) => new JsonCursor(item, `${this.#path}[${at}]`, this.#format),
    );
  }

  /** Text, with lone surrogates replaced as Go does. */
  string(maxLength: number = Number.MAX_SAFE_INTEGER): string {
    if (typeof this.#value !== "string") {
      return this.fail(`is ${kindOf(this.#value)}, want a string`);
    }
    if (this.#value.length > maxLength) {
      return this.fail(`is ${this.#value.length} characters long, want at most ${maxLength}`);
    }
    return wellFormed(this.#value);
  }

  /** An integer from 0 to 2^53 − 1. */
  size(): number {
    const value = this.#value;
    if (typeof value !== "number" || !Number.isSafeInteger(value) || value < 0) {
      const shown = typeof value === "number" ? String(value) : kindOf(value);
      return this.fail(`is ${shown}, want an integer from 0 to 2^53 - 1`);
    }
    return value;
  }

  /** A well-formed digest. */
  digest(): Digest {
    const text = this.string();
    if (isDigest(text)) return text;
    return this.fail(
      `is ${JSON.stringify(text.slice(0, 160))}, want a digest sha256:<64 hex> or sha512:<128 hex>`,
    );
  }

  /** Texts by key. */
  stringRecord(maxItems: number): Readonly<Record<string, string>> {
    const keys = Object.keys(this.object());
    if (keys.length > maxItems) {
      return this.fail(`has ${keys.length} keys, want at most ${maxItems}`);
    }
    return Object.fromEntries(
      keys.map((key) => [wellFormed(key), this.optional(key)?.string() ?? ""]),
    );
  }

  /** @throws FormatError that names this value's path. */
  fail(problem: string): never {
    throw new FormatError(this.#format, 0, `${this.#path} ${problem}`);
  }
}

/**
 * Parses bounded JSON text.
 * @param format - names the document in errors, for example `manifest`.
 * @throws FormatError if it is too long, too deep or no JSON.
 */
export function parseJson(bytes: Uint8Array, format: string, maxBytes: number): JsonCursor {
  if (bytes.length > maxBytes) {
    throw new FormatError(
      format,
      maxBytes,
      `it is ${bytes.length} bytes long, want at most ${maxBytes}`,
    );
  }
  checkDepth(bytes, format);
  try {
    return new JsonCursor(JSON.parse(decodeUtf8AsGo(bytes)), "$", format);
  } catch (cause) {
    throw syntaxError(bytes, format, cause);
  }
}

/** V8 names the place of most faults. Its text quotes the document, so it is not part of ours. */
function syntaxError(bytes: Uint8Array, format: string, cause: unknown): FormatError {
  const text = String(cause);
  const place = text.includes("end of JSON input") ? bytes.length : 0;
  const offset = Number(/position (\d+)/.exec(text)?.[1] ?? place);
  return new FormatError(format, offset, "it is not valid JSON", { cause });
}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const OPENERS: ReadonlySet<number> = new Set([0x5b, 0x7b]);
const CLOSERS: ReadonlySet<number> = new Set([0x5d, 0x7d]);

function checkDepth(bytes: Uint8Array, format: string): void {
  let depth = 0;
  let inString = false;
  for (let at = 0; at < bytes.length; at++) {
    const byte = bytes[at] as number;
    if (inString) {
      if (byte === BACKSLASH) at += 1;
      else if (byte === QUOTE) inString = false;
    } else if (byte === QUOTE) inString = true;
    else if (CLOSERS.has(byte)) depth -= 1;
    else if (OPENERS.has(byte)) {
      depth += 1;
      if (depth > MAX_JSON_DEPTH) {
        throw new FormatError(
          format,
          at,
          `it nests deeper than ${MAX_JSON_DEPTH}, want less nesting`,
        );
      }
    }
  }
}

function wellFormed(text: string): string {
  return text.replace(/\p{Surrogate}/gu, "\ufffd");
}

function pathStep(key: string): string {
  return /^[A-Za-z_]\w*$/.test(key) ? `.${key}` : `[${JSON.stringify(key.slice(0, 128))}]`;
}

function kindOf(value: unknown): string {
  if (value === null) return "null";
  if (Array.isArray(value)) return "an array";
  return typeof value === "object" ? "an object" : `a ${typeof value}`;
}
