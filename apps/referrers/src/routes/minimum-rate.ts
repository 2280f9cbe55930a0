import { AppError } from "@soci-ts/core";

const TICK_MS = 1_000;
/** How long a body may keep its reader waiting before anything of it has come, and at most at any time. */
export const PATIENCE_MS = 30_000;
/** What a body has to bring a second in the long run to be read on. */
export const MINIMUM_BYTES_PER_S = 1_024;

/**
 * A body that must not dawdle: {@link PATIENCE_MS} of waiting, of which each byte that comes buys some back. Only the time in
 * which the reader really waits counts, so a slow disk is not the client's fault. One timer for each body that is read.
 * @throws AppError `deadline_exceeded` when the patience is at its end; the body's source is then left as it is.
 */
export async function* atMinimumRate(
  body: AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array, void> {
  const iterator = body[Symbol.asyncIterator]();
  let patienceMs = PATIENCE_MS;
  let giveUp: ((reason: AppError) => void) | undefined;
  let isGivenUp = false;
  const timer = setInterval(() => {
    if (giveUp === undefined) return;
    patienceMs -= TICK_MS;
    isGivenUp = patienceMs <= 0;
    if (isGivenUp) giveUp(tooSlow());
  }, TICK_MS);
  try {
    for (;;) {
      const piece = await new Promise<IteratorResult<Uint8Array>>((resolve, reject) => {
        giveUp = reject;
        iterator.next().then(resolve, reject);
      });
      giveUp = undefined;
      if (piece.done === true) return;
      const boughtMs = (piece.value.length * 1_000) / MINIMUM_BYTES_PER_S;
      patienceMs = Math.min(PATIENCE_MS, patienceMs + boughtMs);
      yield piece.value;
    }
  } finally {
    clearInterval(timer);
    // A source that still owes a piece would only answer this when that has come.
    if (!isGivenUp) await iterator.return?.();
  }
}

function tooSlow(): AppError {
  return new AppError(
    "deadline_exceeded",
    `Cannot read the request's body: it comes too slowly, want ${MINIMUM_BYTES_PER_S} bytes a second`,
  );
}
