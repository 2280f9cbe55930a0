type Cleanup = () => void | Promise<void>;

/** Things to close, in reverse order of their opening (Node 20 has no AsyncDisposableStack). */
export class DisposeStack implements AsyncDisposable {
  #cleanups: Cleanup[] = [];

  /** Adds a value that is closed by its own `Symbol.asyncDispose`, and returns it. */
  use<T extends AsyncDisposable>(value: T): T {
    this.defer(async () => value[Symbol.asyncDispose]());
    return value;
  }

  /** Adds a cleanup. */
  defer(cleanup: Cleanup): void {
    this.#cleanups.push(cleanup);
  }

  /** Hands the cleanups to a new stack; this one then closes nothing. For "close all unless we got to the end". */
  move(): DisposeStack {
    const moved = new DisposeStack();
    moved.#cleanups = this.#cleanups;
    this.#cleanups = [];
    return moved;
  }

  /** Runs every cleanup, the last added first, also when some fail; then throws the first failure. Idempotent. */
  async [Symbol.asyncDispose](): Promise<void> {
    const cleanups = this.#cleanups.reverse();
    this.#cleanups = [];
    const failures: unknown[] = [];
    for (const cleanup of cleanups) {
      try {
        await cleanup();
      } catch (error) {
        failures.push(error);
      }
    }
    if (failures.length > 0) throw failures[0];
  }
}
