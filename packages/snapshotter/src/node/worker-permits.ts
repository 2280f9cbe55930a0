import { Semaphore } from "@soci-ts/core";

/** Images that are made ready at a time: a process each, 60 to 100 MB. */
const MAX_WORKERS = 24;

/** Of one registry: when it hangs, the images of others still have room. */
const MAX_OF_REGISTRY = 8;

interface Share {
  readonly permits: Semaphore;
  holders: number;
}

/** Says when an image's worker may start: not too many at a time, and never all of them for one registry. */
export class WorkerPermits {
  readonly #all = new Semaphore(MAX_WORKERS);
  readonly #shares = new Map<string, Share>();

  /** Runs `work` when there is room. An abort while waiting leaves the queue. */
  async run<T>(registry: string, work: () => Promise<T>, signal: AbortSignal): Promise<T> {
    const known = this.#shares.get(registry);
    const share = known ?? { permits: new Semaphore(MAX_OF_REGISTRY), holders: 0 };
    this.#shares.set(registry, share);
    share.holders += 1;
    try {
      return await share.permits.run(() => this.#all.run(work, signal), signal);
    } finally {
      share.holders -= 1;
      if (share.holders === 0) this.#shares.delete(registry);
    }
  }
}
