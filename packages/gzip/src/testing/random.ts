/** A seeded generator of integers in [0, limit) (xorshift32), so that a failure can be repeated. */
export function createRandom(seed: number): (limit: number) => number {
  let state = seed | 1;
  return (limit) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % limit;
  };
}

/** Bytes that compress as files do: words from a small vocabulary, runs, and stretches of noise. */
export function fileLikeBytes(length: number, seed: number): Uint8Array {
  const random = createRandom(seed);
  const words = Array.from({ length: 200 }, () =>
    Uint8Array.from({ length: 2 + random(9) }, () => 97 + random(26)),
  );
  const bytes = new Uint8Array(length);
  let at = 0;
  const append = (piece: Uint8Array): void => {
    bytes.set(piece.subarray(0, length - at), at);
    at = Math.min(length, at + piece.length);
  };
  while (at < length) {
    const kind = random(40);
    if (kind === 0) append(new Uint8Array(random(2000)).fill(random(256)));
    else if (kind === 1) append(Uint8Array.from({ length: random(900) }, () => random(256)));
    else append(words[random(words.length)]!);
  }
  return bytes;
}
