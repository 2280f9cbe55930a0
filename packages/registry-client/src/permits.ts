import { Semaphore } from "@soci-ts/core";

interface Share {
  readonly permits: Semaphore;
  holders: number;
}

/**
 * Requests that may be under way at one host, counted for each repository by itself: one whose requests all hang holds up nobody else.
 * What is not about a repository has a share of its own.
 */
export class Permits {
  readonly #most: number;
  readonly #shares = new Map<string, Share>();

  constructor(most: number) {
    this.#most = most;
  }

  /** Runs `work` when its repository has a permit left; an abort while it waits leaves the queue. */
  async run<T>(
    repository: string | undefined,
    work: () => Promise<T>,
    signal?: AbortSignal,
  ): Promise<T> {
    const name = repository ?? "";
    const share = this.#shares.get(name) ?? { permits: new Semaphore(this.#most), holders: 0 };
    this.#shares.set(name, share);
    share.holders += 1;
    try {
      return await share.permits.run(work, signal);
    } finally {
      share.holders -= 1;
      if (share.holders === 0) this.#shares.delete(name);
    }
  }
}
