import { crc32 } from "node:zlib";
import type { Span } from "@soci-ts/layer-index";
import { type Chunk, ChunkMap } from "./chunk-map.ts";
import { readFullySync } from "./file-io.ts";
import { PRESENT } from "./presence.ts";
import { RecentChunks, SMALL_READ_BYTES } from "./recent-chunks.ts";

/** What another thread reads a layer's present bytes by: it may be sent there, and what is shared stays so. */
export interface PresentBytes {
  /** The cache file, open for as long as `isOpen` holds 1. */
  readonly fd: number;
  readonly spans: readonly Span[];
  /** For each chunk, {@link PRESENT} if it is in the file; and its checksum. Shared. */
  readonly states: Uint8Array;
  readonly checksums: Uint32Array;
  /** For each chunk, not 0 if a header has to be looked at before it is served. Shared. */
  readonly guarded: Uint8Array;
  /** One word, 1 as long as the layer may be read. Shared. */
  readonly isOpen: Int32Array;
}

/** Reads present bytes in a thread that has nothing else to do, so it waits for the disk. */
export class PresentReader {
  readonly #bytes: PresentBytes;
  readonly #map: ChunkMap;
  readonly #recent = new RecentChunks();

  constructor(bytes: PresentBytes) {
    this.#bytes = bytes;
    this.#map = new ChunkMap(bytes.spans);
  }

  /**
   * The bytes of [start, start + length), checked; `undefined` if they are not to be had here, for any reason: then the layer itself is asked.
   * They are good until the next call.
   * @param memory - used if it has room for all chunks that they lie in.
   */
  read(start: number, length: number, memory: Uint8Array): Uint8Array | undefined {
    const end = start + length;
    const { isOpen } = this.#bytes;
    if (Atomics.load(isOpen, 0) !== 1 || end > this.#map.sizeBytes) return undefined;
    const chunks = [...this.#map.chunks(start, end)];
    const [first, last] = [chunks[0], chunks.at(-1)];
    if (first === undefined || last === undefined) return undefined;
    if (!chunks.every(({ number }) => this.#mayServe(number))) return undefined;
    if (chunks.length === 1 && length <= SMALL_READ_BYTES) {
      return this.#chunk(first)?.subarray(start - first.start, end - first.start);
    }
    const all = last.end - first.start;
    const bytes = memory.length >= all ? memory.subarray(0, all) : new Uint8Array(all);
    const isIntact =
      this.#fill(bytes, first.start) &&
      chunks.every((chunk) =>
        this.#isIntact(chunk, bytes.subarray(chunk.start - first.start, chunk.end - first.start)),
      );
    return isIntact ? bytes.subarray(start - first.start, end - first.start) : undefined;
  }

  #chunk(chunk: Chunk): Uint8Array | undefined {
    const known = this.#recent.get(chunk.number);
    if (known !== undefined) return known;
    const bytes = this.#recent.take(chunk.end - chunk.start);
    if (!this.#fill(bytes, chunk.start) || !this.#isIntact(chunk, bytes)) return undefined;
    this.#recent.put(chunk.number, bytes);
    return bytes;
  }

  #mayServe(chunk: number): boolean {
    const { states, guarded } = this.#bytes;
    return states[chunk] === PRESENT && guarded[chunk] === 0;
  }

  /** The file may have been closed, and its number be another's, since it was looked at: the checksums tell. */
  #isIntact({ number }: Chunk, bytes: Uint8Array): boolean {
    return this.#bytes.checksums[number] === crc32(bytes);
  }

  #fill(bytes: Uint8Array, position: number): boolean {
    try {
      return readFullySync(this.#bytes.fd, bytes, position);
    } catch {
      return false; // the layer itself says what is wrong
    }
  }
}
