interface Waiting {
  readonly cost: number;
  readonly enter: () => void;
}

/** Memory that work in progress may hold: lets holders in while their bytes fit, in order of arrival; one alone may be larger. */
export class ByteBudget {
  readonly #limitBytes: number;
  #heldBytes = 0;
  readonly #waiting: Waiting[] = [];

  constructor(limitBytes: number) {
    this.#limitBytes = limitBytes;
  }

  /** Resolves with the function that gives the bytes back, once there is room; rejects with the signal's reason on abort. */
  acquire(bytes: number, signal: AbortSignal): Promise<() => void> {
    const cost = Math.min(bytes, this.#limitBytes);
    return new Promise((resolve, reject) => {
      if (signal.aborted) {
        reject(signal.reason);
        return;
      }
      const leave = (): void => {
        const at = this.#waiting.indexOf(waiting);
        if (at >= 0) this.#waiting.splice(at, 1);
        reject(signal.reason);
        this.#admit();
      };
      const enter = (): void => {
        signal.removeEventListener("abort", leave);
        resolve(() => this.#release(cost));
      };
      const waiting: Waiting = { cost, enter };
      signal.addEventListener("abort", leave, { once: true });
      this.#waiting.push(waiting);
      this.#admit();
    });
  }

  #release(cost: number): void {
    this.#heldBytes -= cost;
    this.#admit();
  }

  #admit(): void {
    for (;;) {
      const next = this.#waiting[0];
      if (next === undefined || this.#heldBytes + next.cost > this.#limitBytes) return;
      this.#waiting.shift();
      this.#heldBytes += next.cost;
      next.enter();
    }
  }
}
