import { CHUNK_BYTES } from "./chunk-map.ts";

/** Reads up to this length are answered from chunks that were read lately; longer ones come from those who read in order. */
export const SMALL_READ_BYTES = 16_384;

/** Chunks kept: 1 MiB. */
const MAX_KEPT = 16;

/**
 * The chunks that small reads came to last, verified. A program that starts faults in page after page of the same few files: each would
 * read and check a whole chunk again.
 */
export class RecentChunks {
  readonly #chunks = new Map<number, Uint8Array>();
  #spare: Uint8Array | undefined;

  /** A chunk's bytes; they must not be changed. */
  get(number: number): Uint8Array | undefined {
    const bytes = this.#chunks.get(number);
    if (bytes !== undefined) this.#keep(number, bytes);
    return bytes;
  }

  /** Memory for a chunk that is to be {@link RecentChunks.put}: that of one that was dropped, where there is one. */
  take(sizeBytes: number): Uint8Array {
    const memory = this.#spare ?? new Uint8Array(CHUNK_BYTES);
    this.#spare = undefined;
    return memory.subarray(0, sizeBytes);
  }

  /** Keeps a chunk in place of the one that was not asked for for longest. */
  put(number: number, bytes: Uint8Array): void {
    this.#keep(number, bytes);
    const [oldest] = this.#chunks;
    if (oldest === undefined || this.#chunks.size <= MAX_KEPT) return;
    this.#chunks.delete(oldest[0]);
    this.#spare = new Uint8Array(oldest[1].buffer);
  }

  #keep(number: number, bytes: Uint8Array): void {
    this.#chunks.delete(number);
    this.#chunks.set(number, bytes);
  }
}
