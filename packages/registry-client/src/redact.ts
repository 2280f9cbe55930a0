const MOST_SECRETS = 512;
/** Shorter secrets are not replaced: they would eat the message and hide nothing. */
const SHORTEST_SECRET = 4;

/** Takes secrets out of text that others wrote (a registry's error body, a system error). One for each client. */
export class Redactor {
  readonly #secrets = new Set<string>();

  /** Adds a secret, and what it looks like in a query string. The oldest is forgotten when there are too many. */
  add(secret: string): void {
    for (const form of [secret, encodeURIComponent(secret)]) {
      if (form.length < SHORTEST_SECRET) continue;
      this.#secrets.delete(form);
      this.#secrets.add(form);
    }
    for (const oldest of this.#secrets) {
      if (this.#secrets.size <= MOST_SECRETS) break;
      this.#secrets.delete(oldest);
    }
  }

  /** `text` with known secrets, query strings, userinfo and control characters taken out, at most `maxLength` characters. */
  scrub(text: string, maxLength: number): string {
    let clean = text;
    // The longest first, so that a secret inside another leaves no rest.
    for (const secret of [...this.#secrets].sort((a, b) => b.length - a.length)) {
      clean = clean.replaceAll(secret, "[secret]");
    }
    clean = clean
      .replace(/\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{4,}/gi, "$1 [secret]")
      .replace(/([a-z][a-z0-9+.-]{0,20}:\/\/)[^\s/@"']{1,512}@/gi, "$1")
      .replace(/\?[^\s"'=]{1,128}=[^\s"']*/g, "?[query]")
      .replace(/[^\P{C} ]/gu, " ");
    return clean.length > maxLength ? `${clean.slice(0, maxLength)}…` : clean;
  }
}

/** A URL to show: no userinfo, no query, no fragment (signed URLs carry secrets there). */
export function shownUrl(url: URL): string {
  return `${url.origin}${url.pathname}`;
}
