import { Speculator } from "@soci-ts/lazy-layer";
import type { JsonValue } from "../mount-record.ts";

/** More are not kept: two for one source guess twice, which harms nobody. */
const MOST_SPECULATORS = 1000;

/** How long a source that failed, or said nothing, is asked only after the others. */
const REST_MS = 30_000;

/** What all layers of a node know of the sources that they are read from. */
export class Sources {
  readonly #rests = new Map<string, number>();
  readonly #speculators = new Map<string, Speculator>();

  /** The sources in the order in which to ask them: those that failed lately come last. */
  inOrder(sources: readonly JsonValue[]): readonly JsonValue[] {
    const rank = (source: JsonValue): number => (this.#isResting(source) ? 1 : 0);
    return [...sources].sort((a, b) => rank(a) - rank(b));
  }

  /** Takes note that a source failed. */
  noteFailure(source: JsonValue): void {
    this.#rests.set(keyOf(source), Date.now() + REST_MS);
  }

  /** Takes note that a source gave what was wanted. */
  noteSuccess(source: JsonValue): void {
    this.#rests.delete(keyOf(source));
  }

  /** The one for the layers that a source has: one whose registry hangs must not keep others from using their idle link. */
  speculatorOf(source: JsonValue): Speculator {
    const key = keyOf(source);
    if (this.#speculators.size >= MOST_SPECULATORS) this.#speculators.clear();
    const speculator = this.#speculators.get(key) ?? new Speculator();
    this.#speculators.set(key, speculator);
    return speculator;
  }

  /** For how long no read of any source has waited for the network, in milliseconds; 0 while one does. */
  get quietMs(): number {
    return Math.min(
      Number.POSITIVE_INFINITY,
      ...[...this.#speculators.values()].map(({ quietMs }) => quietMs),
    );
  }

  #isResting(source: JsonValue): boolean {
    const key = keyOf(source);
    const untilMs = this.#rests.get(key);
    if (untilMs !== undefined && untilMs <= Date.now()) this.#rests.delete(key);
    return this.#rests.has(key);
  }
}

function keyOf(source: JsonValue): string {
  return JSON.stringify(source);
}
