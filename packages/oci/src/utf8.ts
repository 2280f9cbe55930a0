const strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/**
 * Text as Go's JSON decoder reads it: each byte that is not part of valid UTF-8 becomes one U+FFFD. (TextDecoder makes
 * one of several such bytes, which would change the digest of a document that is written again.) A byte order mark stays.
 */
export function decodeUtf8AsGo(bytes: Uint8Array): string {
  try {
    return strict.decode(bytes);
  } catch {
    // Not UTF-8: take the slow way, character by character.
    return decodeLeniently(bytes);
  }
}

function decodeLeniently(bytes: Uint8Array): string {
  const pieces: string[] = [];
  let start = 0;
  let at = 0;
  while (at < bytes.length) {
    const length = sequenceLength(bytes, at);
    if (length === 0) {
      pieces.push(strict.decode(bytes.subarray(start, at)), "\ufffd");
      start = at + 1;
    }
    at += Math.max(length, 1);
  }
  pieces.push(strict.decode(bytes.subarray(start)));
  return pieces.join("");
}

/** Lead bytes, with the range allowed for the byte that follows (Unicode 15, table 3-7); more bytes are 80–BF. */
const SEQUENCES: readonly (readonly [
  first: number,
  last: number,
  low: number,
  high: number,
  length: number,
])[] = [
  [0xc2, 0xdf, 0x80, 0xbf, 2],
  [0xe0, 0xe0, 0xa0, 0xbf, 3],
  [0xe1, 0xec, 0x80, 0xbf, 3],
  [0xed, 0xed, 0x80, 0x9f, 3],
  [0xee, 0xef, 0x80, 0xbf, 3],
  [0xf0, 0xf0, 0x90, 0xbf, 4],
  [0xf1, 0xf3, 0x80, 0xbf, 4],
  [0xf4, 0xf4, 0x80, 0x8f, 4],
];

/** Length of the valid sequence at `at`; 0 if there is none. */
function sequenceLength(bytes: Uint8Array, at: number): number {
  const lead = bytes[at] as number;
  if (lead < 0x80) return 1;
  const row = SEQUENCES.find(([first, last]) => lead >= first && lead <= last);
  if (row === undefined || at + row[4] > bytes.length) return 0;
  const second = bytes[at + 1] as number;
  if (second < row[2] || second > row[3]) return 0;
  for (let k = 2; k < row[4]; k++) {
    const next = bytes[at + k] as number;
    if (next < 0x80 || next > 0xbf) return 0;
  }
  return row[4];
}
