/** Sizes are rounded up to this, so that a buffer fits many spans. */
const STEP_BYTES = 262_144;

/** Buffers kept; as many spans as are usually in flight. */
const MAX_KEPT = 8;

/** Memory for the blob bytes of spans, used again and again: fresh memory for each would keep the garbage collector running. */
export class SpanBuffers {
  readonly #free: ArrayBuffer[] = [];

  /** `sizeBytes` bytes with anything in them. */
  take(sizeBytes: number): Uint8Array {
    const at = this.#free.findIndex((buffer) => buffer.byteLength >= sizeBytes);
    const [buffer] = at < 0 ? [] : this.#free.splice(at, 1);
    const memory = buffer ?? new ArrayBuffer(Math.ceil(sizeBytes / STEP_BYTES) * STEP_BYTES);
    return new Uint8Array(memory, 0, sizeBytes);
  }

  /** Takes one back that nobody looks at any more. */
  giveBack({ buffer }: Uint8Array): void {
    if (this.#free.length < MAX_KEPT && buffer instanceof ArrayBuffer) this.#free.push(buffer);
  }
}
