import { AppError } from "./errors.ts";

/** Options of every call that does I/O. */
export interface IoOptions {
  readonly signal?: AbortSignal | undefined;
}

/** Options of a read. */
export interface ReadOptions extends IoOptions {
  /**
   * Memory that the bytes may be put into; then a view of it is returned. Whoever reads much gives the same memory again and again: fresh
   * memory for each read makes the engine collect garbage all the time. It may still be written to after a read that failed.
   */
  readonly into?: Uint8Array | undefined;
}

/** Bytes that can be read at any offset. A medium implements this; everything else is functions over it. */
export interface ByteSource {
  /** Length in bytes. */
  readonly size: number;
  /**
   * Exactly `length` bytes from `offset`; the caller owns them.
   * @throws AppError `out_of_range` if the range is not wholly inside the source.
   */
  readAt(offset: number, length: number, options?: ReadOptions): Promise<Uint8Array>;
}

/** A source over bytes in memory; reads are views, not copies. */
export function bytesSource(bytes: Uint8Array): ByteSource {
  return {
    size: bytes.length,
    async readAt(offset, length) {
      checkRange(bytes.length, offset, length);
      return bytes.subarray(offset, offset + length);
    },
  };
}

/**
 * Checks that [offset, offset + length) lies inside a source of `size` bytes.
 * @throws AppError `out_of_range`.
 */
export function checkRange(size: number, offset: number, length: number): void {
  const end = offset + length;
  if (Number.isSafeInteger(end) && offset >= 0 && length >= 0 && end <= size) return;
  throw new AppError(
    "out_of_range",
    `Cannot read ${length} bytes at offset ${offset}: the source has ${size} bytes`,
  );
}
