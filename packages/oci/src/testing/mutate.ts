/** A small seeded generator (Lehmer, no bitwise operators): values in [0, 1), the same for the same seed. */
export function seededRandom(seed: number): () => number {
  let state = seed % 2147483647 || 1;
  return () => {
    state = (state * 48271) % 2147483647;
    return state / 2147483647;
  };
}

/** A copy of `bytes` with one to four random edits: a changed byte, a removed, doubled or inserted run. */
export function mutate(bytes: Uint8Array, random: () => number): Uint8Array {
  let result = Buffer.from(bytes);
  const edits = 1 + Math.floor(random() * 4);
  for (let k = 0; k < edits; k++) {
    const at = Math.floor(random() * result.length);
    const length = 1 + Math.floor(random() * 12);
    const head = result.subarray(0, at);
    const run = result.subarray(at, at + length);
    const tail = result.subarray(at + length);
    const kind = Math.floor(random() * 4);
    if (kind === 0) result[at] = Math.floor(random() * 256);
    else if (kind === 1) result = Buffer.concat([head, tail]);
    else if (kind === 2) result = Buffer.concat([head, run, run, tail]);
    else result = Buffer.concat([head, Buffer.from(pick(INSERTS, random)), run, tail]);
  }
  return result;
}

const INSERTS = [
  "null",
  "-1",
  "1e400",
  "[]",
  "{}",
  '""',
  "[[[[",
  '"\\ud800"',
  "9007199254740993",
  ",",
  "\u0000",
];

function pick<T>(items: readonly T[], random: () => number): T {
  return items[Math.floor(random() * items.length)] as T;
}
