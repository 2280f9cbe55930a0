/** Tells whether a character (code point) is meant. */
export type CharacterTest = (character: number) => boolean;

/** What a pattern says. */
export type PatternNode =
  | { readonly kind: "character"; readonly test: CharacterTest }
  | { readonly kind: "edge"; readonly edge: "start" | "end" | "word" | "not-word" }
  | { readonly kind: "sequence"; readonly nodes: readonly PatternNode[] }
  | { readonly kind: "choice"; readonly nodes: readonly PatternNode[] }
  | {
      readonly kind: "repeat";
      readonly node: PatternNode;
      readonly min: number;
      /** No limit if `undefined`. */
      readonly max: number | undefined;
    };

/** A pattern that is none; the message says why. Never leaves `pattern.ts`. */
export class PatternFault extends Error {}

/** Letters, digits and `_` of ASCII, as Go's `\w`. */
export function isWord(character: number): boolean {
  return /^\w$/.test(String.fromCodePoint(character));
}

const CLASSES: Readonly<Record<string, RegExp>> = {
  d: /^[0-9]$/,
  w: /^[0-9A-Za-z_]$/,
  s: /^[\t\n\f\r ]$/,
};
const CONTROLS: Readonly<Record<string, number>> = { a: 7, f: 12, n: 10, r: 13, t: 9, v: 11 };
const EDGES = { A: "start", z: "end", b: "word", B: "not-word" } as const;
const MAX_DEPTH = 50;
const NEWLINE = 10;

/**
 * Reads a pattern.
 * @throws PatternFault
 */
export function parsePattern(source: string): PatternNode {
  const ignoresCase = source.startsWith("(?i)");
  const parser = new PatternParser(ignoresCase ? source.slice(4) : source, ignoresCase);
  return parser.parse();
}

class PatternParser {
  readonly #characters: readonly string[];
  readonly #ignoresCase: boolean;
  #at = 0;
  #depth = 0;

  constructor(source: string, ignoresCase: boolean) {
    this.#characters = Array.from(source);
    this.#ignoresCase = ignoresCase;
  }

  parse(): PatternNode {
    const node = this.#choice();
    if (this.#peek() !== "") throw new PatternFault("the pattern has a ) with no (");
    return node;
  }

  #choice(): PatternNode {
    this.#depth += 1;
    if (this.#depth > MAX_DEPTH) throw new PatternFault("the pattern nests too deep");
    const nodes = [this.#sequence()];
    while (this.#takeIf("|")) nodes.push(this.#sequence());
    this.#depth -= 1;
    return { kind: "choice", nodes };
  }

  #sequence(): PatternNode {
    const nodes: PatternNode[] = [];
    while (!["", "|", ")"].includes(this.#peek())) nodes.push(this.#repeated(this.#atom()));
    return { kind: "sequence", nodes };
  }

  #repeated(node: PatternNode): PatternNode {
    const range = this.#range();
    if (range === undefined) return node;
    // How much it takes first does not matter to whether it matches.
    this.#takeIf("?");
    if (this.#range() !== undefined) throw new PatternFault("the pattern repeats a repetition");
    return { kind: "repeat", node, ...range };
  }

  #range(): { readonly min: number; readonly max: number | undefined } | undefined {
    if (this.#takeIf("*")) return { min: 0, max: undefined };
    if (this.#takeIf("+")) return { min: 1, max: undefined };
    if (this.#takeIf("?")) return { min: 0, max: 1 };
    if (this.#peek() !== "{") return undefined;
    const rest = this.#characters.slice(this.#at, this.#at + 12).join("");
    const [all, low, comma, high] = /^\{(\d{1,4})(,?)(\d{0,4})\}/.exec(rest) ?? [];
    if (all === undefined || (comma === "" && high !== "")) return undefined;
    this.#at += all.length;
    const min = Number(low);
    const max = comma === "" ? min : high === "" ? undefined : Number(high);
    if (max !== undefined && max < min) throw new PatternFault("a repetition ends below its start");
    return { min, max };
  }

  #atom(): PatternNode {
    const character = this.#take();
    switch (character) {
      case "(":
        return this.#group();
      case "[":
        return this.#character(this.#class());
      case ".":
        return { kind: "character", test: (other) => other !== NEWLINE };
      case "^":
        return { kind: "edge", edge: "start" };
      case "$":
        return { kind: "edge", edge: "end" };
      case "*":
      case "+":
      case "?":
        throw new PatternFault(`the pattern has a ${character} with nothing before it`);
      case "\\":
        return this.#escaped();
      default:
        return this.#character(equals(character));
    }
  }

  #group(): PatternNode {
    if (this.#takeIf("?")) {
      const rest = this.#characters.slice(this.#at, this.#at + 64).join("");
      const [head] = /^(?::|P?<\w+>)/.exec(rest) ?? [];
      if (head === undefined) throw new PatternFault("the pattern has a group of an unknown kind");
      this.#at += head.length;
    }
    const node = this.#choice();
    if (!this.#takeIf(")")) throw new PatternFault("the pattern has a ( with no )");
    return node;
  }

  #escaped(): PatternNode {
    const edge = EDGES[this.#peek() as keyof typeof EDGES];
    if (edge === undefined) return this.#character(this.#escape());
    this.#take();
    return { kind: "edge", edge };
  }

  /** After a backslash: a class, or one character. */
  #escape(): CharacterTest {
    const letter = this.#take();
    const set = CLASSES[letter.toLowerCase()];
    if (set !== undefined) {
      const isIn: CharacterTest = (character) => set.test(String.fromCodePoint(character));
      return letter === letter.toLowerCase() ? isIn : (character) => !isIn(character);
    }
    const control = CONTROLS[letter];
    if (control !== undefined) return equals(String.fromCodePoint(control));
    if (letter === "x") return equals(this.#hex());
    if (letter === "" || /^[A-Za-z0-9]$/.test(letter)) {
      throw new PatternFault(`the pattern has an unknown escape \\${letter}`);
    }
    return equals(letter);
  }

  #hex(): string {
    const rest = this.#characters.slice(this.#at, this.#at + 8).join("");
    const [all, long, short] = /^(?:\{([0-9a-fA-F]{1,6})\}|([0-9a-fA-F]{2}))/.exec(rest) ?? [];
    const value = Number.parseInt(long ?? short ?? "", 16);
    if (all === undefined || value > 0x10ffff) {
      throw new PatternFault("the pattern has a \\x without its digits");
    }
    this.#at += all.length;
    return String.fromCodePoint(value);
  }

  /** After `[`. */
  #class(): CharacterTest {
    const isNegated = this.#takeIf("^");
    const tests: CharacterTest[] = [];
    for (let isFirst = true; isFirst || this.#peek() !== "]"; isFirst = false) {
      tests.push(this.#classMember());
    }
    this.#take();
    return (character) => tests.some((test) => test(character)) !== isNegated;
  }

  #classMember(): CharacterTest {
    const first = this.#take();
    if (first === "") throw new PatternFault("the pattern has a [ with no ]");
    if (first === "[" && this.#peek() === ":") {
      throw new PatternFault("the pattern has a named class, want its characters");
    }
    if (first === "\\") return this.#escape();
    const [dash, last] = [this.#peek(), this.#characters[this.#at + 1] ?? ""];
    if (dash !== "-" || last === "]" || last === "") return equals(first);
    if (last === "\\") throw new PatternFault("a range of the pattern ends with an escape");
    this.#at += 2;
    const [low, high] = [first.codePointAt(0) ?? 0, last.codePointAt(0) ?? 0];
    if (high < low) throw new PatternFault("a range of the pattern ends below its start");
    return (character) => character >= low && character <= high;
  }

  #character(test: CharacterTest): PatternNode {
    if (!this.#ignoresCase) return { kind: "character", test };
    const inCase = (character: number): readonly number[] => {
      const text = String.fromCodePoint(character);
      return [text, text.toLowerCase(), text.toUpperCase()].map(
        (other) => other.codePointAt(0) ?? 0,
      );
    };
    return { kind: "character", test: (character) => inCase(character).some(test) };
  }

  #peek(): string {
    return this.#characters[this.#at] ?? "";
  }

  #take(): string {
    const character = this.#peek();
    if (character !== "") this.#at += 1;
    return character;
  }

  #takeIf(character: string): boolean {
    if (this.#peek() !== character) return false;
    this.#at += 1;
    return true;
  }
}

function equals(text: string): CharacterTest {
  const wanted = text.codePointAt(0);
  return (character) => character === wanted;
}
