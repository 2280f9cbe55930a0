import { Glob } from "@soci-ts/core";
import { SpecError } from "../spec-error.ts";

/** Measuring reads all rows of a repository, so what was measured counts for a while, unless the quota is nearly used up. */
const MEASURE_INTERVAL_MS = 10_000;
const NEARLY_FULL = 0.9;
/** Repositories without running requests that are remembered. */
const MAX_REMEMBERED = 1_000;

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

/** What a request is about to do. */
export interface Intent {
  readonly repository: string;
  /** As far as it is announced. */
  readonly sizeBytes: number;
  /** True if measuring sees nothing of the request before it has ended. */
  readonly isHidden: boolean;
}

interface Usage {
  requests: number;
  /** Bytes that were there when it was measured, less those taken until then: with `takenBytes` it is what is there. */
  baseBytes: number;
  measuredMs: number;
  /** All bytes that requests took. */
  takenBytes: number;
  /** Those that running requests took and that measuring does not see. */
  hiddenBytes: number;
}

/**
 * Quotas of repositories. Usage is measured, and what requests take from then on counts on top, whatever becomes of it. So requests
 * together stay within the quota, and no count has to be kept in step with the catalogue. What was taken in vain or deleted is
 * noticed when it is measured again.
 */
export class Quotas {
  readonly #quotas: readonly { readonly globs: readonly Glob[]; readonly maxBytes: number }[];
  readonly #usages = new Map<string, Usage>();

  /** @param quotas - the first that matches a repository counts. */
  constructor(quotas: readonly Quota[]) {
    this.#quotas = quotas.map(({ repositories, maxBytes }) => ({
      globs: repositories.map((pattern) => new Glob(pattern)),
      maxBytes,
    }));
  }

  /** What may be stored in a repository now; `undefined` without a quota. To be disposed of when the request has ended. */
  async allowance(intent: Intent, measure: MeasureUsage): Promise<Allowance | undefined> {
    const { repository, isHidden } = intent;
    const quota = this.#quotas.find(({ globs }) => globs.some((glob) => glob.matches(repository)));
    if (quota === undefined) return undefined;
    const usage = this.#begin(repository);
    let taken = 0;
    const end = (): void => {
      if (isHidden) usage.hiddenBytes -= taken;
      taken = 0;
      usage.requests -= 1;
    };
    try {
      await refresh(usage, intent, { measure, maxBytes: quota.maxBytes });
    } catch (error) {
      end();
      throw error;
    }
    const expect = (sizeBytes: number): void => {
      const total = usage.baseBytes + usage.takenBytes + sizeBytes;
      if (total > quota.maxBytes) throw exceeded(repository, quota.maxBytes);
    };
    let isOpen = true;
    return {
      expect,
      take: (sizeBytes) => {
        expect(sizeBytes);
        taken += sizeBytes;
        usage.takenBytes += sizeBytes;
        if (isHidden) usage.hiddenBytes += sizeBytes;
      },
      [Symbol.dispose]: () => {
        if (isOpen) end();
        isOpen = false;
      },
    };
  }

  #begin(repository: string): Usage {
    const usage = this.#usages.get(repository) ?? newUsage();
    usage.requests += 1;
    // Deleted first, so that the map's order is that of use.
    this.#usages.delete(repository);
    this.#usages.set(repository, usage);
    for (const [name, { requests }] of this.#usages) {
      if (this.#usages.size <= MAX_REMEMBERED) break;
      if (requests === 0) this.#usages.delete(name);
    }
    return usage;
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

function newUsage(): Usage {
  const measuredMs = Number.NEGATIVE_INFINITY;
  return { requests: 0, baseBytes: 0, measuredMs, takenBytes: 0, hiddenBytes: 0 };
}

async function refresh(
  usage: Usage,
  { repository, sizeBytes }: Intent,
  { measure, maxBytes }: { readonly measure: MeasureUsage; readonly maxBytes: number },
): Promise<void> {
  const isFresh = performance.now() - usage.measuredMs < MEASURE_INTERVAL_MS;
  const expected = usage.baseBytes + usage.takenBytes + sizeBytes;
  if (isFresh && expected < maxBytes * NEARLY_FULL) return;
  // Noted before it is measured: what others take meanwhile may count twice, but never not at all.
  const measured = usage.takenBytes - usage.hiddenBytes;
  const startedMs = performance.now();
  usage.baseBytes = (await measure(repository)) - measured;
  usage.measuredMs = startedMs;
}

function exceeded(repository: string, maxBytes: number): SpecError {
  return new SpecError(
    "DENIED",
    `Cannot store this in ${repository}: it would hold more than its quota of ${maxBytes} bytes`,
    { status: 413 },
  );
}
