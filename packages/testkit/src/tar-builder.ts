import { type Header, pack } from "tar-stream";

/** One entry of a tar that a test wants: tar-stream's header, with the content of regular files (default: none). */
export interface TarItem extends Partial<Header> {
  readonly name: string;
  readonly content?: Uint8Array | string;
}

/** A tar made of these items by tar-stream, in order. */
export async function buildTar(items: readonly TarItem[]): Promise<Uint8Array> {
  const packer = pack();
  for (const { content, ...header } of items) {
    const isFile = (header.type ?? "file") === "file";
    const body = content === undefined && !isFile ? undefined : Buffer.from(content ?? "");
    const full = { mtime: new Date(1_600_000_000_000), ...header };
    if (body === undefined) packer.entry(full);
    else packer.entry({ ...full, size: body.length }, body);
  }
  packer.finalize();
  const chunks: Uint8Array[] = [];
  for await (const chunk of packer as AsyncIterable<Uint8Array>) chunks.push(chunk);
  return Buffer.concat(chunks);
}

/** Pseudo-random bytes that are the same for the same seed, about half compressible. */
export function seededBytes(length: number, seed: number): Uint8Array {
  const bytes = Buffer.allocUnsafe(length);
  const next = seededRandom(seed);
  for (let at = 0; at < length; ) {
    const run = Math.min(length - at, 1 + Math.floor(next() * 48));
    if (next() < 0.5) bytes.fill(Math.floor(next() * 256), at, at + run);
    else for (let i = at; i < at + run; i += 1) bytes.writeUInt8(Math.floor(next() * 256), i);
    at += run;
  }
  return bytes;
}

/** A generator of numbers in [0, 1) that gives the same sequence for the same seed (a linear congruential one; not for secrets). */
export function seededRandom(seed: number): () => number {
  let state = (seed % 2147483647) + 1;
  return () => {
    state = (state * 48271) % 2147483647;
    return state / 2147483647;
  };
}
