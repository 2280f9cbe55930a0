const INVISIBLE = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}\p{Co}\p{Cn}]/gu;

/**
 * Text from an image, for people: what has no shape of its own, or changes that of its neighbours (control characters, bidi
 * controls, zero-width ones, lone surrogates), is spelled out as `\u{202e}`.
 */
export function visible(text: string): string {
  return text.replace(INVISIBLE, (char) => `\\u{${(char.codePointAt(0) ?? 0).toString(16)}}`);
}
