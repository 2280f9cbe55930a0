/**
 * A pattern of names: `*` stands for any text, slashes included, and everything else for itself. Each part is searched for once, from where the last
 * one ended, so that no pattern takes long.
 */
export class Glob {
  readonly #parts: readonly string[];

  constructor(pattern: string) {
    this.#parts = pattern.split("*");
  }

  /** True if the whole of `text` fits. */
  matches(text: string): boolean {
    const [first = "", ...rest] = this.#parts;
    const last = rest.pop();
    if (last === undefined) return text === first;
    if (!text.startsWith(first)) return false;
    let at = first.length;
    for (const part of rest) {
      const found = text.indexOf(part, at);
      if (found < 0) return false;
      at = found + part.length;
    }
    return text.length - last.length >= at && text.endsWith(last);
  }
}
