import { delay } from "@soci-ts/core";

/**
 * The time to write down for something that happens now, in milliseconds since 1970, rounded up: clients measure in nanoseconds and would else see a snapshot
 * made before they asked for it. Wait with {@link untilPast} before the reply, or it is made after they got it.
 */
export function momentAfterNow(): number {
  return Date.now() + 1;
}

/** Resolves when a time of {@link momentAfterNow} has come: mostly at once, since a commit to the disk takes longer. Doesn't wait for a clock that was set back. */
export async function untilPast(momentMs: number): Promise<void> {
  for (let turn = 0; turn < 5 && Date.now() < momentMs; turn += 1) await delay(1);
}
