import { delay } from "@soci-ts/core";
import { RegistryError, TransportError } from "./errors.ts";

/** How requests are tried again. */
export interface RetryPolicy {
  /** Attempts in all (default 5); 1 means no retry. */
  readonly attempts: number;
  /** Wait before the second attempt, in milliseconds; doubled for each further one (default 200). */
  readonly minDelayMs: number;
  /** Longest such wait (default 10 000). */
  readonly maxDelayMs: number;
  /** The longest Retry-After that is obeyed; a server that asks for more is given up (default 60 000). */
  readonly maxRetryAfterMs: number;
}

/** The policy used where none is given. */
export const DEFAULT_RETRY: RetryPolicy = {
  attempts: 5,
  minDelayMs: 200,
  maxDelayMs: 10_000,
  maxRetryAfterMs: 60_000,
};

/** Which failures a request may be repeated after: any transient one, or only those where the server did nothing. */
export type Repeatable = "always" | "if-refused";

const TRANSIENT: ReadonlySet<number> = new Set([408, 425, 429, 500, 502, 503, 504]);
const REFUSED: ReadonlySet<number> = new Set([425, 429, 503]);

/** Counts the attempts of one operation and waits between them. */
export class Backoff {
  readonly #policy: RetryPolicy;
  #failures = 0;

  constructor(policy: RetryPolicy) {
    this.#policy = policy;
  }

  /** Forgets earlier failures, for an operation that gets on. */
  reset(): void {
    this.#failures = 0;
  }

  /**
   * Waits until the next attempt may be made.
   * @throws the error itself if another attempt is no use or not allowed.
   */
  async wait(error: unknown, repeatable: Repeatable, signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted();
    this.#failures += 1;
    if (!isTransient(error, repeatable) || this.#failures >= this.#policy.attempts) throw error;
    const asked = error instanceof RegistryError ? error.retryAfterMs : undefined;
    if (asked !== undefined && asked > this.#policy.maxRetryAfterMs) throw error;
    await delay(Math.max(asked ?? 0, this.#jittered()), signal);
  }

  /** Between half of the doubled wait and all of it: callers that failed together do not come back together. */
  #jittered(): number {
    const { minDelayMs, maxDelayMs } = this.#policy;
    const full = Math.min(maxDelayMs, minDelayMs * 2 ** (this.#failures - 1));
    return full * (0.5 + Math.random() / 2);
  }
}

/** True if another attempt may succeed, and may be made. */
export function isTransient(error: unknown, repeatable: Repeatable): boolean {
  if (error instanceof RegistryError) {
    return (repeatable === "always" ? TRANSIENT : REFUSED).has(error.status);
  }
  return error instanceof TransportError && (repeatable === "always" || !error.sent);
}
