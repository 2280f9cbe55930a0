import { MAX_PAGES } from "./protocol.ts";

const PAGE_BYTES = 4096;

/**
 * Room for the largest read and for what a handler may have to read around it. Only pages that are written to take memory.
 */
export const READ_BUFFER_BYTES: number = (MAX_PAGES + 64) * PAGE_BYTES;

/** Buffers kept; reads beyond that get fresh ones. */
const MAX_KEPT = 16;

/** Memory for the answers to reads, used again and again: fresh memory for each would keep the garbage collector running. */
export class ReadBuffers {
  readonly #free: Uint8Array[] = [];

  /** A buffer with anything in it. */
  take(): Uint8Array {
    return this.#free.pop() ?? Buffer.allocUnsafeSlow(READ_BUFFER_BYTES);
  }

  /** Takes one back that nobody writes to any more. */
  giveBack(buffer: Uint8Array): void {
    if (this.#free.length < MAX_KEPT) this.#free.push(buffer);
  }
}
