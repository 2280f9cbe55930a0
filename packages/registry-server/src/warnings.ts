import { WARNING_LIMIT_BYTES } from "./limits.ts";

const PREFIX = '299 - "';

/**
 * The `Warning` header that tells these sentences, none if there are none (distribution-spec v1.1.1 §Warnings). They share one
 * header value, because not every client reads a second; what exceeds 4096 bytes or cannot stand in a header is left out.
 */
export function warningHeader(sentences: readonly string[]): { Warning?: string } {
  if (sentences.length === 0) return {};
  const text = sentences
    .join(" ")
    .replace(/[^\x20-\x7e]/g, "?")
    .replace(/["\\]/g, "'");
  return { Warning: `${PREFIX}${text.slice(0, WARNING_LIMIT_BYTES - PREFIX.length - 1)}"` };
}
