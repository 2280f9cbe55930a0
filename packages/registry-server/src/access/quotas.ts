import { SpecError } from "../spec-error.ts";
import { Glob } from "./glob.ts";

/** How much each of some repositories may hold. */
export interface Quota {
  readonly repositories: readonly string[];
  /** Bytes of blobs, manifests and uploads together; a blob that several repositories have counts in each. */
  readonly maxBytes: number;
}

/** What one request may still store. */
export interface Allowance extends Disposable {
  /** Takes bytes before they are stored. @throws SpecError `DENIED` with status 413 if they are too many. */
  take(sizeBytes: number): void;
  /** Says whether bytes would be too many; takes none. @throws as `take`. */
  expect(sizeBytes: number): void;
}

/** How many bytes a repository holds, what its open uploads have received included. */
export type MeasureUsage = (repository: string) => Promise<number>;

interface Traffic {
  requests: number;
  /** All bytes that were taken since the first of these requests began. */
  takenBytes: number;
  /** Those that running requests took and that measuring does not see. */
  hiddenBytes: number;
}

/**
 * Quotas of repositories. Usage is measured when a request begins; what requests take from then on, its own bytes and those of others
 * that run beside it, counts on top. So requests together stay within the quota, and nothing has to be kept in step with the catalogue.
 */
export class Quotas {
  readonly #quotas: readonly { readonly globs: readonly Glob[]; readonly maxBytes: number }[];
  readonly #traffic = new Map<string, Traffic>();

  /** @param quotas - the first that matches a repository counts. */
  constructor(quotas: readonly Quota[]) {
    this.#quotas = quotas.map(({ repositories, maxBytes }) => ({
      globs: repositories.map((pattern) => new Glob(pattern)),
      maxBytes,
    }));
  }

  /**
   * What may be stored in a repository now; `undefined` without a quota. To be disposed of when the request has ended.
   * @param isHidden - true if `measure` sees nothing of the request before it has ended.
   */
  async allowance(
    repository: string,
    measure: MeasureUsage,
    isHidden: boolean,
  ): Promise<Allowance | undefined> {
    const quota = this.#quotas.find(({ globs }) => globs.some((glob) => glob.matches(repository)));
    if (quota === undefined) return undefined;
    const traffic = this.#traffic.get(repository) ?? {
      requests: 0,
      takenBytes: 0,
      hiddenBytes: 0,
    };
    this.#traffic.set(repository, traffic);
    traffic.requests += 1;
    let taken = 0;
    const end = (): void => {
      if (isHidden) traffic.hiddenBytes -= taken;
      traffic.requests -= 1;
      if (traffic.requests === 0) this.#traffic.delete(repository);
    };
    // Taken before it is measured: what others take meanwhile may count twice, but never not at all.
    const mark = traffic.takenBytes - traffic.hiddenBytes;
    const used = await measure(repository).catch((error: unknown) => {
      end();
      throw error;
    });
    const expect = (sizeBytes: number): void => {
      const total = used + (traffic.takenBytes - mark) + sizeBytes;
      if (total > quota.maxBytes) throw exceeded(repository, quota.maxBytes);
    };
    let isOpen = true;
    return {
      expect,
      take: (sizeBytes) => {
        expect(sizeBytes);
        taken += sizeBytes;
        traffic.takenBytes += sizeBytes;
        if (isHidden) traffic.hiddenBytes += sizeBytes;
      },
      [Symbol.dispose]: () => {
        if (isOpen) end();
        isOpen = false;
      },
    };
  }
}

/** A body whose bytes are taken piece by piece. */
export async function* metered(
  body: AsyncIterable<Uint8Array>,
  take: (sizeBytes: number) => void,
): AsyncIterable<Uint8Array> {
  for await (const piece of body) {
    take(piece.length);
    yield piece;
  }
}

function exceeded(repository: string, maxBytes: number): SpecError {
  return new SpecError(
    "DENIED",
    `Cannot store this in ${repository}: it would hold more than its quota of ${maxBytes} bytes`,
    { status: 413 },
  );
}
