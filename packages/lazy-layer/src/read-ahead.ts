interface Reader {
  /** Where its next read is expected. */
  next: number;
  /** Bytes it has read in order. */
  runBytes: number;
  /** How far ahead of it has been asked for. */
  aheadEnd: number;
}

/** Readers that are told apart. */
const MAX_READERS = 16;

/** A read this far from where it was expected still belongs to the reader: readers skip tar headers, and requests overtake each other. */
const TOLERANCE_BYTES = 256 * 1024;

/** Before this much was read in order, there is no read-ahead: most files of a starting program are smaller. */
const MIN_RUN_BYTES = 4 * 2 ** 20;

/**
 * Notices who goes through a layer in order. A reader that has read N bytes gets N more asked for ahead of it, up to the limit: so
 * read-ahead never costs more than was read, and a long sequential read soon has few, large requests in flight before it.
 */
export class ReadAhead {
  readonly #maxBytes: number;
  readonly #readers: Reader[] = [];

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** Takes note of a read of [start, end); gives the range worth fetching beyond it, if any. */
  note(start: number, end: number): { readonly start: number; readonly end: number } | undefined {
    const reader = this.#readerAt(start);
    reader.runBytes += Math.max(0, end - reader.next);
    reader.next = Math.max(reader.next, end);
    if (reader.runBytes < MIN_RUN_BYTES) return undefined;
    const windowBytes = Math.min(this.#maxBytes, reader.runBytes);
    // In few large steps: not before half of the last one is used up.
    if (reader.aheadEnd - reader.next > windowBytes / 2) return undefined;
    const range = { start: Math.max(reader.aheadEnd, reader.next), end: reader.next + windowBytes };
    reader.aheadEnd = range.end;
    return range.start < range.end ? range : undefined;
  }

  #readerAt(start: number): Reader {
    const at = this.#readers.findIndex(({ next }) => Math.abs(start - next) <= TOLERANCE_BYTES);
    const [known] = at >= 0 ? this.#readers.splice(at, 1) : [];
    const reader = known ?? { next: start, runBytes: 0, aheadEnd: 0 };
    this.#readers.unshift(reader);
    this.#readers.splice(MAX_READERS);
    return reader;
  }
}
