import { AppError } from "@soci-ts/core";

/** A piece of a filter; `position` is where it starts. */
export interface Token {
  readonly kind: "field" | "value" | "quoted" | "operator" | "separator" | "end" | "other";
  readonly text: string;
  readonly position: number;
}

/** Simple escapes of Go's string literals. */
const ESCAPES: Readonly<Record<string, string>> = {
  a: "\x07",
  b: "\b",
  f: "\f",
  n: "\n",
  r: "\r",
  t: "\t",
  v: "\v",
  "\\": "\\",
};
/** How many digits follow, and in which base. */
const NUMERIC: Readonly<Record<string, readonly [pattern: RegExp, base: number]>> = {
  x: [/[0-9a-fA-F]{2}/y, 16],
  u: [/[0-9a-fA-F]{4}/y, 16],
  U: [/[0-9a-fA-F]{8}/y, 16],
};
const OCTAL = /[0-7]{3}/y;

const SPACES = /\s*/y;
const FIELD = /[A-Za-z0-9_]+/y;
const OPERATOR = /[=!~]+/y;
const VALUE = /[\p{L}\p{M}\p{N}\p{P}\p{S}]+/uy;
const QUOTES = '"/|';
const SEPARATORS = ",.";

/** Cuts a filter into pieces, as containerd's scanner does: what an unquoted piece may hold depends on whether an operator came before it. */
export class FilterScanner {
  readonly #text: string;
  #position = 0;
  #afterOperator = false;

  constructor(text: string) {
    this.#text = text;
  }

  /** Where the next piece starts, blanks before it not skipped. */
  get position(): number {
    return this.#position;
  }

  /** The next character, blanks not skipped; "" at the end. */
  peek(): string {
    return this.#text.charAt(this.#position);
  }

  /** Takes the next piece. */
  scan(): Token {
    this.#take(SPACES);
    const position = this.#position;
    const next = this.peek();
    const token = (kind: Token["kind"], text: string): Token => ({ kind, text, position });
    if (next === "") return token("end", "");
    if (QUOTES.includes(next)) return token("quoted", this.#quoted(next));
    if (SEPARATORS.includes(next)) {
      this.#afterOperator = false;
      this.#position += 1;
      return token("separator", next);
    }
    const operator = this.#take(OPERATOR);
    if (operator !== "") {
      this.#afterOperator = true;
      return token("operator", operator);
    }
    if (!this.#afterOperator) return token("field", this.#take(FIELD) || this.fail(position));
    this.#afterOperator = false;
    return token("value", this.#takeValue() || this.fail(position));
  }

  /** The text that a quoted piece stands for. */
  unquote({ text, position }: Token): string {
    const pieces: Uint8Array[] = [];
    const quote = text.charAt(0);
    for (let at = 1; at < text.length - 1; ) {
      if (text.charAt(at) !== "\\") {
        const end = nextEscape(text, at);
        pieces.push(Buffer.from(text.slice(at, end)));
        at = end;
        continue;
      }
      const decoded = decodeEscape(text, at + 1, quote);
      if (decoded === undefined) throw this.fault(position + at, "want an escape of Go's");
      pieces.push(decoded.bytes);
      at = decoded.end;
    }
    return Buffer.concat(pieces).toString("utf8");
  }

  /** The error for something at a position. */
  fault(position: number, state: string): AppError {
    const message = `Cannot use filter ${JSON.stringify(this.#text.slice(0, 200))}: at position ${position}, ${state}`;
    return new AppError("invalid_argument", message, { details: { position } });
  }

  /** Throws for a character that has no place here. */
  fail(position: number): never {
    throw this.fault(position, `unexpected ${JSON.stringify(this.#text.charAt(position))}`);
  }

  #quoted(quote: string): string {
    const start = this.#position;
    for (let at = start + 1; at < this.#text.length; at += 1) {
      const char = this.#text.charAt(at);
      if (char === "\n") break;
      if (char === "\\") at += 1;
      else if (char === quote) {
        this.#position = at + 1;
        return this.#text.slice(start, at + 1);
      }
    }
    throw this.fault(start, "a quoted text does not end");
  }

  #takeValue(): string {
    const rest = this.#take(VALUE);
    const comma = rest.indexOf(",");
    if (comma < 0) return rest;
    this.#position -= rest.length - comma;
    return rest.slice(0, comma);
  }

  #take(pattern: RegExp): string {
    pattern.lastIndex = this.#position;
    const text = pattern.exec(this.#text)?.[0] ?? "";
    this.#position += text.length;
    return text;
  }
}

function nextEscape(text: string, from: number): number {
  const at = text.indexOf("\\", from);
  return at < 0 ? text.length - 1 : at;
}

function decodeEscape(
  text: string,
  at: number,
  quote: string,
): { readonly bytes: Uint8Array; readonly end: number } | undefined {
  const letter = text.charAt(at);
  const simple = letter === quote ? quote : ESCAPES[letter];
  if (simple !== undefined) return { bytes: Buffer.from(simple), end: at + 1 };
  const isOctal = letter >= "0" && letter <= "7";
  const [pattern, base] = isOctal ? [OCTAL, 8] : (NUMERIC[letter] ?? []);
  if (pattern === undefined) return undefined;
  const start = isOctal ? at : at + 1;
  pattern.lastIndex = start;
  const digits = pattern.exec(text)?.[0];
  if (digits === undefined) return undefined;
  const value = Number.parseInt(digits, base);
  const end = start + digits.length;
  // \x and octal digits stand for one byte, \u and \U for a character.
  if (isOctal || letter === "x") {
    return value > 255 ? undefined : { bytes: Uint8Array.of(value), end };
  }
  if (value > 0x10ffff) return undefined;
  return { bytes: Buffer.from(String.fromCodePoint(value)), end };
}
