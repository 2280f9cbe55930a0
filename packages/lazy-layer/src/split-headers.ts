import type { Digest } from "@soci-ts/core";
import type { HeaderTable, LayerIndex, SplitHeader } from "@soci-ts/layer-index";
import type { Chunk, ChunkMap } from "./chunk-map.ts";
import { headersError } from "./open-span.ts";

/**
 * The headers that lie across the border of two spans, so that no span has them whole. They are read and held against the file
 * table when their file is first read.
 */
export class SplitHeaders {
  readonly #table: HeaderTable | undefined;
  readonly #layer: Digest;
  readonly #unverified: Set<SplitHeader>;
  readonly #map: ChunkMap;
  /** For each chunk, 1 if {@link SplitHeaders.verify} has something to look at before it is served. Shared with other threads. */
  readonly guarded: Uint8Array;

  constructor(layer: Digest, index: LayerIndex, table: HeaderTable | undefined, map: ChunkMap) {
    this.#layer = layer;
    this.#table = table;
    this.#map = map;
    this.guarded = new Uint8Array(new SharedArrayBuffer(map.count));
    const borders = index.spans.slice(1).map(({ uncompressedStart }) => uncompressedStart);
    this.#unverified = new Set(table?.splitBy(borders));
    for (const header of this.#unverified) this.#guard(header);
  }

  /**
   * Verifies the headers of files whose data lies in `[start, end)`, read by `read`.
   * @throws AppError `data_loss` if the file table says something else; whatever `read` throws.
   */
  async verify(
    start: number,
    end: number,
    read: (start: number, end: number) => Promise<Uint8Array>,
  ): Promise<void> {
    for (const header of this.#unverified) {
      if (!concerns(header, { start, end })) continue;
      const bytes = await read(header.start, header.end);
      try {
        this.#table?.verifySplit(header, bytes);
      } catch (error) {
        throw headersError(this.#layer, error);
      }
      this.#unverified.delete(header);
      this.#unguard(header);
    }
  }

  #guard({ end, dataEnd }: SplitHeader): void {
    for (const { number } of this.#chunksOf(end, dataEnd)) this.guarded[number] = 1;
  }

  /** Its file is good; another one's data may begin or end in the first and last chunk of its. */
  #unguard({ end, dataEnd }: SplitHeader): void {
    for (const { number, ...chunk } of this.#chunksOf(end, dataEnd)) {
      const isBorder = chunk.start <= end || chunk.end >= dataEnd;
      const isOthers = isBorder && [...this.#unverified].some((it) => concerns(it, chunk));
      this.guarded[number] = Number(isOthers);
    }
  }

  #chunksOf(start: number, end: number): Iterable<Chunk> {
    return this.#map.chunks(start, Math.min(end, this.#map.sizeBytes));
  }

  /** True if there is nothing left to verify. */
  get isDone(): boolean {
    return this.#unverified.size === 0;
  }
}

/** True if data of the header's file lies in `[start, end)`. */
function concerns(
  header: SplitHeader,
  { start, end }: { readonly start: number; readonly end: number },
): boolean {
  return header.dataEnd > start && header.end < end;
}
