/**
 * The bytes between two threads: one writes, one reads, through memory that both see, so that nothing is allocated on the way and a
 * writer that is too fast has to wait. `view` blocks the calling thread and is for worker threads.
 *
 * Layout of the shared memory: five 32-bit words, then the ring.
 *
 * | word | meaning                                                                                   |
 * |------|-------------------------------------------------------------------------------------------|
 * | 0    | bytes written so far, modulo twice the capacity (so that full and empty differ)             |
 * | 1    | bytes read so far, likewise                                                               |
 * | 2    | 1 once the writer is done                                                                 |
 * | 3    | counts what the writer does: what the reader waits on                                     |
 * | 4    | 1 while the reader waits: waking nobody costs as much as waking it                        |
 */
const WRITTEN = 0;
const READ = 1;
const ENDED = 2;
const EVENTS = 3;
const WAITING = 4;
const HEADER_BYTES = 20;

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
    const count = this.#put(bytes);
    if (count > 0) this.#wake();
    return count;
  }

  /** Writer: where the next bytes belong, as many as there is room for in one piece; none if it is full. */
  room(): Uint8Array {
    const at = this.#load(WRITTEN) % this.capacityBytes;
    const free = this.capacityBytes - this.#filled();
    return this.#bytes.subarray(at, Math.min(at + free, this.capacityBytes));
  }

  /** Writer: the first `count` bytes of the {@link ByteRing.room} are filled. */
  commit(count: number): void {
    this.#advance(WRITTEN, count);
    this.#wake();
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
      this.#wait(events);
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

  #put(bytes: Uint8Array): number {
    const room = this.capacityBytes - this.#filled();
    const count = Math.min(room, bytes.length);
    if (count === 0) return 0;
    const at = this.#load(WRITTEN) % this.capacityBytes;
    const first = Math.min(count, this.capacityBytes - at);
    this.#bytes.set(bytes.subarray(0, first), at);
    this.#bytes.set(bytes.subarray(first, count), 0);
    this.#advance(WRITTEN, count);
    return count;
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
  }

  /** Until the writer has done something since `events` were counted. */
  #wait(events: number): void {
    Atomics.store(this.#words, WAITING, 1);
    Atomics.wait(this.#words, EVENTS, events);
    Atomics.store(this.#words, WAITING, 0);
  }

  #wake(): void {
    Atomics.add(this.#words, EVENTS, 1);
    if (this.#load(WAITING) === 1) Atomics.notify(this.#words, EVENTS);
  }
}
