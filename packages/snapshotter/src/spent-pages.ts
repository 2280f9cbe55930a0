import { AppError, type Logger } from "@soci-ts/core";
import type { FuseSession, PageRange } from "@soci-ts/fuse";

/** So many bytes that were answered last keep their pages: the kernel reads ahead, and may not have come to all of them yet. */
const KEPT_BYTES = 16 * 2 ** 20;

/** Above this, all but the kept ones go. */
const MOST_BYTES = 2 * KEPT_BYTES;

/** All go this long after the last answer. */
const QUIET_MS = 1000;

/** Neighbours are joined up to this. */
const MAX_RANGE_BYTES = 4 * 2 ** 20;

/** How pages are dropped, and what is told of it. */
export interface SpentPagesOptions {
  readonly forget: FuseSession["forgetPages"];
  readonly logger: Logger;
  readonly quietMs?: number | undefined;
}

/**
 * Has the kernel drop pages of layers' data files (`dN`) that it was given: EROFS on top has copied what it wanted of them into pages of its own, so
 * they would be a second copy. What is in EROFS' pages stays there, whatever becomes of ours.
 *
 * The kernel waits for a page that is being read, in a thread that can't be killed; so only pages whose reads were answered are dropped, none
 * that lies in a range which is being read again, and one range at a time.
 */
export class SpentPages {
  readonly #options: SpentPagesOptions;
  /** Answered, the oldest first. */
  #spent: PageRange[] = [];
  #spentBytes = 0;
  readonly #reading = new Set<PageRange>();
  #isDropping = false;
  #isOff = false;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: SpentPagesOptions) {
    this.#options = options;
  }

  /** Runs a read of a data file. What it gave is dropped some time after it; of one that failed there are no pages. */
  async watch<T>(range: PageRange, read: () => Promise<T>): Promise<T> {
    if (this.#isOff) return await read();
    this.#reading.add(range);
    try {
      const answer = await read();
      this.answered(range);
      return answer;
    } finally {
      this.#reading.delete(range);
    }
  }

  /** A read was answered; what it gave is dropped some time later. */
  answered(range: PageRange): void {
    if (this.#isOff) return;
    const last = this.#spent.at(-1);
    const joined = last && joinedRange(last, range);
    if (joined === undefined) this.#spent.push(range);
    else this.#spent[this.#spent.length - 1] = joined;
    this.#spentBytes += range.lengthBytes;
    if (this.#spentBytes > MOST_BYTES) void this.#drop(KEPT_BYTES);
    const { quietMs = QUIET_MS } = this.#options;
    this.#timer ??= setTimeout(() => void this.#drop(0), quietMs).unref();
    this.#timer.refresh();
  }

  /** Drops the oldest until no more than `keptBytes` are left. Never rejects. */
  async #drop(keptBytes: number): Promise<void> {
    if (this.#isDropping) return;
    this.#isDropping = true;
    try {
      while (this.#spentBytes > keptBytes && !this.#isOff) {
        const range = this.#spent.shift();
        if (range === undefined) break;
        this.#spentBytes -= range.lengthBytes;
        // It will be answered, and noted, again.
        if (this.#isBeingRead(range)) continue;
        if (!(await this.#options.forget(range))) this.#switchOff("the kernel can't");
      }
    } catch (error) {
      this.#switchOff(AppError.from(error).message);
    } finally {
      this.#isDropping = false;
    }
  }

  #isBeingRead(range: PageRange): boolean {
    for (const other of this.#reading) if (overlap(other, range)) return true;
    return false;
  }

  #switchOff(why: string): void {
    this.#isOff = true;
    this.#spent = [];
    clearTimeout(this.#timer);
    this.#options.logger.warn("pages that EROFS has copied are kept twice", { error: why });
  }
}

/** Two ranges as one, if the second follows the first. */
function joinedRange(first: PageRange, second: PageRange): PageRange | undefined {
  const { nodeId, offset, lengthBytes } = first;
  if (nodeId !== second.nodeId || offset + lengthBytes !== second.offset) return undefined;
  const sum = lengthBytes + second.lengthBytes;
  return sum > MAX_RANGE_BYTES ? undefined : { nodeId, offset, lengthBytes: sum };
}

function overlap(one: PageRange, other: PageRange): boolean {
  if (one.nodeId !== other.nodeId) return false;
  return (
    one.offset < other.offset + other.lengthBytes && other.offset < one.offset + one.lengthBytes
  );
}
