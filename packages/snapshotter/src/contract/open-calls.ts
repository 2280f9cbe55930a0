import { AppError, type IoOptions } from "@soci-ts/core";

/** Calls of a service that can be closed: it waits for those that run, and takes no more. */
export class OpenCalls {
  readonly #running = new Map<Promise<unknown>, AbortController>();
  #isOpen = true;

  /**
   * Runs one call. Its signal aborts when the caller's does, or when the service closes.
   * @throws AppError `failed_precondition` after {@link OpenCalls.close}; what `work` throws.
   */
  async run<T>(work: (signal: AbortSignal) => Promise<T>, { signal }: IoOptions = {}): Promise<T> {
    this.requireOpen();
    signal?.throwIfAborted();
    const abort = new AbortController();
    const onAbort = (): void => abort.abort(signal?.reason);
    signal?.addEventListener("abort", onAbort, { once: true });
    const call = work(abort.signal);
    this.#running.set(call, abort);
    try {
      return await call;
    } finally {
      this.#running.delete(call);
      signal?.removeEventListener("abort", onAbort);
    }
  }

  /** @throws AppError `failed_precondition` after {@link OpenCalls.close}. */
  requireOpen(): void {
    if (this.#isOpen) return;
    throw new AppError("failed_precondition", "Cannot use snapshots: they are closed, want open");
  }

  /** Aborts what runs and waits for its end. Idempotent. */
  async close(): Promise<void> {
    this.#isOpen = false;
    const reason = new AppError("unavailable", "Cannot finish: snapshots are being closed");
    for (const abort of this.#running.values()) abort.abort(reason);
    await Promise.allSettled(this.#running.keys());
  }
}
