import { visible } from "../visible.ts";

/** HTML or SVG whose every piece of text was escaped. Only {@link markup} makes it. */
export class Markup {
  readonly text: string;

  private constructor(text: string) {
    this.text = text;
  }

  /** Markup that is a literal of this program, with what stands in it already escaped. */
  static trusted(text: string): Markup {
    return new Markup(text);
  }
}

/** What may stand in a template. */
export type MarkupPart = Markup | string | number | readonly Markup[];

/**
 * A template of HTML or SVG: `markup\`<td>${name}</td>\``. Text that is put into it can be neither an element nor end an attribute (quote
 * attributes), and shows what it is: see {@link visible}.
 */
export function markup(literals: TemplateStringsArray, ...parts: readonly MarkupPart[]): Markup {
  const pieces = literals.map((literal, at) => literal + render(parts[at] ?? ""));
  return Markup.trusted(pieces.join(""));
}

function render(part: MarkupPart): string {
  if (part instanceof Markup) return part.text;
  if (typeof part === "object") return part.map(({ text }) => text).join("");
  return visible(String(part)).replace(/[&<>"'`]/g, escapeChar);
}

function escapeChar(char: string): string {
  return `&#${char.charCodeAt(0)};`;
}
