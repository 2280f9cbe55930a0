import { crc32 } from "node:zlib";
import { WINDOW_BYTES } from "./types.ts";

const ROOM_BYTES = 262144;

/**
 * Linear memory that an engine inflates into, with the last {@link WINDOW_BYTES} of older output always in front of it (zeros
 * at first). Never a ring: a fast zlib writes rubbish beyond its cursor, which in a ring would be history that is still needed.
 * `end` is in every call where the engine stands.
 */
export class OutputBuffer {
  readonly bytes: Uint8Array<ArrayBuffer> = new Uint8Array(
    new ArrayBuffer(WINDOW_BYTES + ROOM_BYTES),
  );
  readonly #onOutput: (bytes: Uint8Array) => void;
  #deliveredTo = WINDOW_BYTES;
  #checkedTo = WINDOW_BYTES;
  #crc = 0;

  constructor(onOutput: (bytes: Uint8Array) => void) {
    this.#onOutput = onOutput;
  }

  /** Hands over what has not been handed over yet. */
  deliver(end: number): void {
    if (end === this.#deliveredTo) return;
    const fresh = this.bytes.subarray(this.#deliveredTo, end);
    this.#deliveredTo = end;
    this.#onOutput(fresh);
  }

  /** Delivers all, keeps the last window, and returns where the engine goes on. */
  slide(end: number): number {
    this.deliver(end);
    this.#updateCrc(end);
    this.bytes.copyWithin(0, end - WINDOW_BYTES, end);
    this.#deliveredTo = WINDOW_BYTES;
    this.#checkedTo = WINDOW_BYTES;
    return WINDOW_BYTES;
  }

  /** A copy of the last {@link WINDOW_BYTES} of output. */
  window(end: number): Uint8Array {
    return this.bytes.slice(end - WINDOW_BYTES, end);
  }

  /** CRC-32 of all output since the last call. */
  takeCrc(end: number): number {
    this.#updateCrc(end);
    const crc = this.#crc;
    this.#crc = 0;
    return crc;
  }

  #updateCrc(end: number): void {
    if (end === this.#checkedTo) return;
    this.#crc = crc32(this.bytes.subarray(this.#checkedTo, end), this.#crc);
    this.#checkedTo = end;
  }
}
