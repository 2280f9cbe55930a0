import { AppError, type Logger } from "@soci-ts/core";
import { collectGarbage, type GarbagePolicy, type GarbageReport, type GarbageRoom } from "./gc.ts";

/** The first collection after a start does not wait for a long interval: a service that is often restarted would never collect. */
const FIRST_RUN_MS = 60_000;

/** When garbage is collected, and who is told. */
export interface CollectorOptions {
  readonly policy: GarbagePolicy;
  /** Milliseconds from one collection to the next; 0: only when asked for. */
  readonly intervalMs: number;
  /** Is told of every collection that ended, and how long it took. */
  readonly onEnd?: ((end: CollectionEnd) => void) | undefined;
}

/** How a collection ended. */
export type CollectionEnd =
  | { readonly kind: "done"; readonly report: GarbageReport; readonly tookMs: number }
  | { readonly kind: "failed"; readonly error: AppError; readonly tookMs: number };

/** Collects garbage now and then, one collection at a time. Whoever made it disposes of it, which breaks off a collection under way. */
export class Collector implements AsyncDisposable {
  readonly #room: GarbageRoom;
  readonly #options: CollectorOptions;
  readonly #logger: Logger;
  readonly #stop = new AbortController();
  #timer: NodeJS.Timeout | undefined;
  #running: Promise<GarbageReport> | undefined;

  constructor(room: GarbageRoom, options: CollectorOptions, logger: Logger) {
    this.#room = room;
    this.#options = options;
    this.#logger = logger;
    if (options.intervalMs > 0) this.#schedule(Math.min(options.intervalMs, FIRST_RUN_MS));
  }

  /** Collects now; a second caller gets the collection that is under way. @throws AppError as {@link collectGarbage}. */
  async collect(): Promise<GarbageReport> {
    this.#running ??= this.#collect().finally(() => {
      this.#running = undefined;
    });
    return this.#running;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearTimeout(this.#timer);
    this.#stop.abort(new AppError("cancelled", "Cannot go on collecting: the registry is closed"));
    await this.#running?.catch(() => {}); // whoever asked for it is told
  }

  async #collect(): Promise<GarbageReport> {
    const start = performance.now();
    const took = (): number => Math.round(performance.now() - start);
    const { signal } = this.#stop;
    try {
      const report = await this.#room.reserve.spend(() =>
        collectGarbage(this.#room, this.#options.policy, { signal }),
      );
      await this.#room.reserve.fill();
      this.#logger.info("garbage collected", { ...report, ms: took() });
      this.#options.onEnd?.({ kind: "done", report, tookMs: took() });
      return report;
    } catch (thrown) {
      const error = AppError.from(thrown);
      if (!signal.aborted) {
        this.#logger.error("garbage collection failed", { reason: error.message });
        this.#options.onEnd?.({ kind: "failed", error, tookMs: took() });
      }
      throw error;
    }
  }

  #schedule(delayMs: number): void {
    this.#timer = setTimeout(() => {
      this.collect()
        .catch(() => {}) // it was logged
        .finally(() => {
          if (!this.#stop.signal.aborted) this.#schedule(this.#options.intervalMs);
        });
    }, delayMs);
    this.#timer.unref();
  }
}
