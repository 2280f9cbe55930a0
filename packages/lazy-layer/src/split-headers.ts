import type { Digest } from "@soci-ts/core";
import type { HeaderTable, LayerIndex, SplitHeader } from "@soci-ts/layer-index";
import { headersError } from "./open-span.ts";

/**
 * The headers that lie across the border of two spans, so that no span has them whole. They are read and held against the file
 * table when their file is first read.
 */
export class SplitHeaders {
  readonly #table: HeaderTable | undefined;
  readonly #layer: Digest;
  readonly #unverified: Set<SplitHeader>;

  constructor(layer: Digest, index: LayerIndex, table: HeaderTable | undefined) {
    this.#layer = layer;
    this.#table = table;
    const borders = index.spans.slice(1).map(({ uncompressedStart }) => uncompressedStart);
    this.#unverified = new Set(table?.splitBy(borders));
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
      if (header.dataEnd <= start || header.end >= end) continue;
      const bytes = await read(header.start, header.end);
      try {
        this.#table?.verifySplit(header, bytes);
      } catch (error) {
        throw headersError(this.#layer, error);
      }
      this.#unverified.delete(header);
    }
  }

  /** True if there is nothing left to verify. */
  get isDone(): boolean {
    return this.#unverified.size === 0;
  }
}
