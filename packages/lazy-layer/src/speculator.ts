/** Starts a fetch that nobody waits for yet and answers its end; `undefined` if there is nothing to guess. Never rejects. */
export type Speculate = () => Promise<void> | undefined;

/**
 * Uses the link while nobody does. A program that starts reads a little, computes, and reads on nearby; a link of 20 ms is idle for most of
 * that time. So when no read waits any more, what follows the last bytes that were wanted is fetched: one span, and never two at a
 * time. It is not given up when something else is wanted: that would cost its connection, and the next one a round trip.
 * One of these serves all layers that share a link.
 */
export class Speculator {
  readonly #now: () => number;
  #demands = 0;
  #isGuessing = false;
  #endedAtMs = Number.NEGATIVE_INFINITY;

  /** @param now - milliseconds of a clock that never goes back. */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
  }

  /** For how long no read has waited for the network, in milliseconds; 0 while one does. */
  get quietMs(): number {
    return this.#demands > 0 ? 0 : this.#now() - this.#endedAtMs;
  }

  /** A read begins to wait for the network. */
  demandBegins(): void {
    this.#demands += 1;
  }

  /** It waits no more; `speculate` may be called now. */
  demandEnds(speculate: Speculate): void {
    this.#demands -= 1;
    this.#endedAtMs = this.#now();
    if (this.#demands > 0 || this.#isGuessing) return;
    const ended = speculate();
    if (ended === undefined) return;
    this.#isGuessing = true;
    void ended.then(() => {
      this.#isGuessing = false;
    });
  }
}
