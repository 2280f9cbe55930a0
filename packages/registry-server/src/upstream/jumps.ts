import { AppError, type Logger } from "@soci-ts/core";
import type { RawAnswer } from "@soci-ts/registry-client";
import type { ByteRange } from "../range.ts";
import type { GrowingFile } from "./growing-file.ts";
import { JUMP_BYTES, MAX_JUMPS } from "./limits.ts";
import type { RightOfWay } from "./right-of-way.ts";
import { isRangeFrom, type OpenBlob } from "./transfer-answers.ts";

/** What jumps need. */
export interface JumpDeps {
  readonly open: OpenBlob;
  readonly logger: Logger;
  readonly rightOfWay: RightOfWay;
}

/**
 * Ranges of a blob that are fetched by themselves, because the transfer of the whole will not be there soon. Their bytes are there
 * for all readers; the whole brings them once more, which keeps its digest a matter of one pass. They only come early: where one
 * fails, its reader waits for the whole.
 */
export class Jumps {
  readonly #file: GrowingFile;
  readonly #deps: JumpDeps;
  readonly #wanted = new Set<ByteRange>();
  readonly #running = new Set<ByteRange>();
  #isBroken = false;

  constructor(file: GrowingFile, deps: JumpDeps) {
    this.#file = file;
    this.#deps = deps;
  }

  /** True if the upstream has no ranges, or one failed: then every reader waits for the whole. */
  get isBroken(): boolean {
    return this.#isBroken;
  }

  /** The upstream has no ranges. */
  giveUp(): void {
    this.#isBroken = true;
  }

  /**
   * Fetches what is missing of a range, now or when others are done.
   * @returns what ends the wish.
   */
  begin(wanted: ByteRange): () => void {
    this.#wanted.add(wanted);
    this.#start(wanted);
    return () => this.#wanted.delete(wanted);
  }

  /** Fetches a range; `given` is the answer to its request if that was sent already. */
  take(range: ByteRange, given?: RawAnswer): void {
    const leave = this.#deps.rightOfWay.enter();
    this.#running.add(range);
    this.#fetch(range, given)
      .catch((error: unknown) => {
        this.#isBroken = true;
        this.#deps.logger.debug("range failed", { reason: AppError.from(error).message });
      })
      .finally(() => {
        this.#running.delete(range);
        leave();
        for (const wanted of this.#wanted) this.#start(wanted);
      });
  }

  #start(wanted: ByteRange): void {
    const start = this.#file.endFrom(wanted.start);
    const end = Math.min(wanted.end, this.#file.nextFrom(start) ?? wanted.end);
    const isSoon = start < this.#file.frontier + JUMP_BYTES;
    const isUnderWay = [...this.#running].some((jump) => jump.start <= start && start < jump.end);
    if (start >= end || isSoon || isUnderWay) return;
    if (!this.#isBroken && this.#running.size < MAX_JUMPS) this.take({ start, end });
  }

  async #fetch({ start, end }: ByteRange, given: RawAnswer | undefined): Promise<void> {
    const answer = given ?? (await this.#deps.open({ start, end }));
    let at = start;
    try {
      if (!isRangeFrom(answer, start)) {
        throw new AppError("unimplemented", `Cannot fetch range: the answer is ${answer.status}`);
      }
      for await (const piece of answer.body) {
        const kept = piece.subarray(0, Math.min(piece.length, end - at));
        await this.#file.insert(kept, at);
        at += kept.length;
      }
      if (at < end) throw new AppError("unavailable", "Cannot fetch range: it ends too early");
    } finally {
      answer.close();
    }
  }
}
