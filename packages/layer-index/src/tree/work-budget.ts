import { AppError } from "@soci-ts/core";
import type { LayerTreeLimits } from "./limits.ts";

/** Counts what a layer makes us do, and stops it at the limits. */
export class WorkBudget {
  readonly #limits: LayerTreeLimits;
  #nodes = 0;
  #steps = 0;

  constructor(limits: LayerTreeLimits) {
    this.#limits = limits;
  }

  /** One more file. @throws AppError `resource_exhausted`. */
  spendNode(): void {
    this.#nodes++;
    if (this.#nodes > this.#limits.maxNodes)
      exhausted(`it has ${this.#nodes} files or more, want at most ${this.#limits.maxNodes}`);
  }

  /** More path components walked. @throws AppError `resource_exhausted`. */
  spendSteps(count: number): void {
    this.#steps += count;
    if (this.#steps > this.#limits.maxSteps)
      exhausted(
        `its paths take ${this.#steps} steps or more, want at most ${this.#limits.maxSteps}`,
      );
  }
}

function exhausted(state: string): never {
  throw new AppError("resource_exhausted", `Cannot build the tree of a layer: ${state}`);
}
