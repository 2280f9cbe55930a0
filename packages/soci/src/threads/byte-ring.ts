/**
 * The bytes between two threads: one writes, one reads, through memory that both see, so that nothing is allocated on the way and a
 * writer that is too fast has to wait. `write` and `view` block the calling thread and are for worker threads;
 * the main thread uses `offer`.
 *
 * Layout of the shared memory: four 32-bit words, then the ring.
 *
 * | word | meaning                                                                                   |
 * |------|-------------------------------------------------------------------------------------------|
 * | 0    | bytes written so far, modulo twice the capacity (so that full and empty differ)             |
 * | 1    | bytes read so far, likewise                                                               |
 * | 2    | 1 once the writer is done                                                                 |
 * | 3    | counts everything that either side does: what a side waits on                             |
 */
const WRITTEN = 0;
const READ = 1;
const ENDED = 2;
const EVENTS = 3;
const HEADER_BYTES = 16;

/** See the top of this file. Both sides make one over the same memory. */
export class ByteRing {
  /** To hand to the other thread. */
  readonly memory: SharedArrayBuffer;
  readonly #words: Int32Array;
  readonly #bytes: Uint8Array;

  constructor(memory: SharedArrayBuffer) {
    this.memory = memory;
    this.#words = new Int32Array(memory, 0, HEADER_BYTES / 4);
    this.#bytes = new Uint8Array(memory, HEADER_BYTES);
  }

  /** A new ring, empty. */
  static create(capacityBytes: number): ByteRing {
    return new ByteRing(new SharedArrayBuffer(HEADER_BYTES + capacityBytes));
  }

  get capacityBytes(): number {
    return this.#bytes.length;
  }

  /** Writer: copies as much of `bytes` as there is room for, at once; how much that was. */
  offer(bytes: Uint8Array): number {
    const room = this.capacityBytes - this.#filled();
    const count = Math.min(room, bytes.length);
    if (count === 0) return 0;
    const written = this.#load(WRITTEN);
    const at = written % this.capacityBytes;
    const first = Math.min(count, this.capacityBytes - at);
    this.#bytes.set(bytes.subarray(0, first), at);
    this.#bytes.set(bytes.subarray(first, count), 0);
    this.#advance(WRITTEN, count);
    return count;
  }

  /** Writer: copies all of `bytes`; blocks while there is no room. */
  write(bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length; ) {
      const events = this.#load(EVENTS);
      const count = this.offer(bytes.subarray(at));
      at += count;
      if (count === 0) Atomics.wait(this.#words, EVENTS, events);
    }
  }

  /** Writer: nothing more will come. */
  end(): void {
    Atomics.store(this.#words, ENDED, 1);
    this.#wake();
  }

  /**
   * Reader: the next bytes, at least one and at most `maxBytes`, where they lie; blocks until there are some. They stay as they are until
   * {@link ByteRing.release}. Undefined once all is read and the writer is done.
   */
  view(maxBytes: number): Uint8Array | undefined {
    for (;;) {
      const events = this.#load(EVENTS);
      const hasEnded = this.#load(ENDED) === 1;
      const filled = this.#filled();
      if (filled > 0) {
        const at = this.#load(READ) % this.capacityBytes;
        const length = Math.min(filled, maxBytes, this.capacityBytes - at);
        return this.#bytes.subarray(at, at + length);
      }
      if (hasEnded) return undefined;
      Atomics.wait(this.#words, EVENTS, events);
    }
  }

  /** Reader: lets the writer have the room of the next `count` bytes. */
  release(count: number): void {
    this.#advance(READ, count);
  }

  /** Makes it empty again, when neither side is at work. */
  reset(): void {
    for (const word of [WRITTEN, READ, ENDED]) Atomics.store(this.#words, word, 0);
  }

  #filled(): number {
    const modulus = 2 * this.capacityBytes;
    return (this.#load(WRITTEN) - this.#load(READ) + modulus) % modulus;
  }

  #load(word: number): number {
    return Atomics.load(this.#words, word);
  }

  #advance(word: number, count: number): void {
    Atomics.store(this.#words, word, (this.#load(word) + count) % (2 * this.capacityBytes));
    this.#wake();
  }

  #wake(): void {
    Atomics.add(this.#words, EVENTS, 1);
    Atomics.notify(this.#words, EVENTS);
  }
}
