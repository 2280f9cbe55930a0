import { setTimeout as sleep } from "node:timers/promises";

/** Resolves after `delayMs` milliseconds; rejects with the signal's reason on abort. */
export async function delay(delayMs: number, signal?: AbortSignal): Promise<void> {
  try {
    await sleep(delayMs, undefined, signal === undefined ? {} : { signal });
  } catch (error) {
    signal?.throwIfAborted();
    throw error;
  }
}
