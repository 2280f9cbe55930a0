/** Starts a fetch that nobody waits for yet and answers its end; `undefined` if there is nothing to guess. Never rejects. */
export type Speculate = () => Promise<void> | undefined;

/**
 * Uses the link while nobody does. A program that starts reads a little, computes, and reads on nearby; a link of 20 ms is idle for most of
 * that time. So when no read waits any more, what follows the last bytes that were wanted is fetched: one span, and never two at a
 * time. It is not given up when something else is wanted: that would cost its connection, and the next one a round trip.
 * One of these serves all layers that share a link.
 */
export class Speculator {
  #demands = 0;
  #isGuessing = false;

  /** A read begins to wait for the network. */
  demandBegins(): void {
    this.#demands += 1;
  }

  /** It waits no more; `speculate` may be called now. */
  demandEnds(speculate: Speculate): void {
    this.#demands -= 1;
    if (this.#demands > 0 || this.#isGuessing) return;
    const ended = speculate();
    if (ended === undefined) return;
    this.#isGuessing = true;
    void ended.then(() => {
      this.#isGuessing = false;
    });
  }
}
