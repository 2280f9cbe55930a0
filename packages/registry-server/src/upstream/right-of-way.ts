import { delay } from "@soci-ts/core";
import { QUIET_MS } from "./limits.ts";

/** Who may be waited for by readers. */
export interface Waitable {
  /** True if somebody waits now. */
  isAwaited(): boolean;
  /** Resolves when somebody begins to wait. Rejects on abort. */
  onceAwaited(signal: AbortSignal): Promise<unknown>;
}

/** Lets what somebody waits for go before what nobody waits for yet. */
export class RightOfWay {
  #urgent = 0;
  #lastMs = Number.NEGATIVE_INFINITY;

  /** Begins something urgent; to be ended by the function that is returned, once. */
  enter(): () => void {
    this.#urgent += 1;
    return () => {
      this.#urgent -= 1;
      this.#lastMs = performance.now();
    };
  }

  /**
   * Waits until there has been nothing urgent for two seconds, but no longer than `mostMs`, and not at all while somebody waits
   * for `rest` too.
   */
  async clear(
    rest: Waitable,
    { mostMs, signal }: { readonly mostMs: number; readonly signal: AbortSignal },
  ): Promise<void> {
    const deadlineMs = performance.now() + mostMs;
    for (;;) {
      const nowMs = performance.now();
      const freeMs = this.#urgent > 0 ? deadlineMs : this.#lastMs + QUIET_MS;
      const waitMs = Math.min(freeMs, deadlineMs) - nowMs;
      if (waitMs <= 0 || rest.isAwaited()) return;
      const over = new AbortController();
      const either = AbortSignal.any([over.signal, signal]);
      try {
        await Promise.race([delay(waitMs, either), rest.onceAwaited(either)]);
      } finally {
        over.abort();
      }
    }
  }
}
