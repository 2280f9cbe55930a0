import { seededRandom } from "@soci-ts/testkit";

/** What a test does at random, so that it can be done again: the same choices, though not at the same moments. */
export class Chance {
  readonly seed: number;
  readonly #next: () => number;

  constructor(seed: number) {
    this.seed = seed;
    this.#next = seededRandom(seed);
  }

  /** A whole number from 0 to `below` - 1. */
  below(below: number): number {
    return Math.floor(this.#next() * below);
  }

  /** One of some things. */
  pick<T>(things: readonly T[]): T {
    const thing = things[this.below(things.length)];
    if (thing === undefined) throw new Error("nothing to choose from");
    return thing;
  }

  /** At least one of some things, in their order. */
  some<T>(things: readonly T[]): readonly T[] {
    const chosen = things.filter(() => this.below(2) === 1);
    return chosen.length > 0 ? chosen : [this.pick(things)];
  }

  /** Waits for up to `most` milliseconds. */
  pause(most: number): Promise<void> {
    return new Promise((resolve) => setTimeout(resolve, this.below(most)));
  }
}

/** The seed that `--seed` of `test/run.mjs` gave, else a new one. */
export function testSeed(): number {
  const given = process.env["SOCI_TEST_SEED"];
  return given === undefined ? Math.floor(Math.random() * 1_000_000) : Number(given);
}
