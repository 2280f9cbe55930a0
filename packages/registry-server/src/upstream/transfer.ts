import { type FileHandle, open, rm } from "node:fs/promises";
import {
  AppError,
  type Digest,
  Digester,
  DigestMismatchError,
  deferred,
  delay,
  digestAlgorithm,
  type Logger,
} from "@soci-ts/core";
import type { RawAnswer } from "@soci-ts/registry-client";
import type { ByteRange } from "../range.ts";
import type { Cache, Reservation } from "./cache.ts";
import { GrowingFile, type Reader } from "./growing-file.ts";
import { Jumps } from "./jumps.ts";
import {
  JUMP_BYTES,
  LONGEST_PIECE_WAIT_MS,
  LONGEST_START_WAIT_MS,
  MAX_RESUMPTIONS,
} from "./limits.ts";
import { type HeldAnswer, held } from "./relay.ts";
import type { RightOfWay } from "./right-of-way.ts";
import { isRangeFrom, type OpenBlob, plainLength, wholeLength } from "./transfer-answers.ts";

/** How the upstream answered the first request of a transfer. */
export type TransferHead =
  /** The bytes come, and are shared. */
  | { readonly kind: "sharing"; readonly sizeBytes: number }
  | { readonly kind: "refused"; readonly answer: HeldAnswer }
  /** The bytes come, but cannot be cached: `answer` is for the one who began. */
  | { readonly kind: "alone"; readonly answer: RawAnswer };

/** What a transfer needs. */
export interface TransferDeps {
  readonly digest: Digest;
  readonly cache: Cache;
  readonly logger: Logger;
  readonly rightOfWay: RightOfWay;
  readonly open: OpenBlob;
  /** What the client that begins wants first, if not the whole. */
  readonly first?: ByteRange | undefined;
}

/** Where a transfer puts its bytes. */
interface Place {
  readonly path: string;
  readonly reservation: Reservation;
}

const RESUME_DELAY_MS = 200;

/**
 * A blob on its way from an upstream into the cache, read by any number of clients meanwhile.
 *
 * One request brings all of it, from the first byte to the last, whether or not anybody still waits; it is taken up again where it
 * breaks off. A reader that begins far ahead has its range fetched by a request of its own ({@link Jumps}); these go first, as long
 * as nobody waits for the whole. When all is here the digest is checked: if it is right the file becomes an entry of the cache; if not, readers
 * of the whole, who were not given the last byte yet, fail.
 */
export class Transfer {
  readonly digest: Digest;
  /** What was answered; rejects if nothing was. */
  readonly head: Promise<TransferHead>;
  /** Resolves at the end: true if the blob is in the cache. */
  readonly verified: Promise<boolean>;
  readonly #deps: TransferDeps;
  readonly #stopping = new AbortController();
  readonly #ended = deferred<boolean>();
  #running: Promise<void> | undefined;
  #file: GrowingFile | undefined;
  #jumps: Jumps | undefined;
  /** Keeps the entry while somebody reads it from here. */
  #unpin = (): void => {};

  /** @param onEnd - called when nothing more can be joined: it is in the cache, or has failed. */
  constructor(deps: TransferDeps, onEnd: () => void) {
    this.digest = deps.digest;
    this.#deps = deps;
    this.verified = this.#ended.promise;
    void this.verified.then(onEnd);
    this.head = this.#begin();
    // Whoever begins waits for it; nobody else need.
    this.head.catch(() => {});
  }

  /**
   * The bytes of a range as they come. To be called when the head is `sharing`; the range must be within the size. The pieces
   * throw AppError if the transfer fails, the digest is wrong, or they are cancelled. To be cancelled in any case.
   * @returns undefined if it is over: then the cache has it, or it has failed.
   */
  reader(range: ByteRange): Reader | undefined {
    const reader = this.#file?.reader(range);
    if (reader === undefined || this.#file?.isWhole(range) !== false) return reader;
    const leave = this.#jumps?.begin(range);
    const cancel = (): void => {
      leave?.();
      reader.cancel();
    };
    return { pieces: reader.pieces, cancel };
  }

  /** Gives up; readers fail. Resolves when nothing is written any more. Idempotent. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#running;
  }

  async #begin(): Promise<TransferHead> {
    let isSharing = false;
    try {
      const head = await this.#accept(await this.#deps.open(this.#deps.first));
      isSharing = head.kind === "sharing";
      return head;
    } finally {
      if (!isSharing) this.#ended.resolve(false);
    }
  }

  async #accept(answer: RawAnswer): Promise<TransferHead> {
    const sizeBytes = answer.status === 206 ? wholeLength(answer) : plainLength(answer);
    if (answer.status !== 200 && answer.status !== 206) {
      return { kind: "refused", answer: await held(answer) };
    }
    const { cache, first } = this.#deps;
    const reservation = sizeBytes === undefined ? undefined : cache.reserve(sizeBytes);
    if (sizeBytes === undefined || reservation === undefined) return { kind: "alone", answer };
    const path = cache.partialPath();
    const opened = await this.#openFile(path);
    if (opened === undefined) {
      reservation.release();
      return { kind: "alone", answer };
    }
    const file = new GrowingFile(opened, sizeBytes, () => this.#unpin());
    const jumps = new Jumps(file, this.#deps);
    const isRange = answer.status === 206 && first !== undefined;
    const hasNoRanges = first !== undefined && answer.status === 200;
    if (hasNoRanges || answer.headers["accept-ranges"] === "none") jumps.giveUp();
    if (isRange) jumps.take({ start: first.start, end: Math.min(first.end, sizeBytes) }, answer);
    this.#file = file;
    this.#jumps = jumps;
    this.#running = this.#run(isRange ? undefined : answer, file, { path, reservation });
    return { kind: "sharing", sizeBytes };
  }

  async #openFile(path: string): Promise<FileHandle | undefined> {
    try {
      return await open(path, "wx+");
    } catch (error) {
      this.#note(error);
      return undefined;
    }
  }

  /** Never rejects: failures are what the readers get. */
  async #run(answer: RawAnswer | undefined, file: GrowingFile, place: Place): Promise<void> {
    const { digest, cache } = this.#deps;
    const { sizeBytes } = file;
    let isVerified = false;
    try {
      const actual = await this.#receive(answer, file);
      if (actual !== digest) throw new DigestMismatchError("blob of an upstream", digest, actual);
      await file.sync();
      this.#stopping.signal.throwIfAborted();
      cache.admit(digest, place.path, { sizeBytes, mediaType: undefined });
      this.#unpin = cache.pin(digest);
      isVerified = true;
      file.settle("verified");
    } catch (error) {
      this.#note(error);
      file.settle(AppError.from(error));
      await rm(place.path, { force: true });
    }
    place.reservation.release();
    this.#ended.resolve(isVerified);
  }

  #note(error: unknown): void {
    const { code, message } = AppError.from(error);
    if (code === "resource_exhausted") this.#deps.cache.pause();
    const fields = { digest: this.digest, code, reason: message };
    this.#deps.logger.warn("transfer into the cache failed", fields);
  }

  /** Receives all bytes, taking up again what breaks off; returns their digest. */
  async #receive(first: RawAnswer | undefined, file: GrowingFile): Promise<Digest> {
    const digester = new Digester(digestAlgorithm(this.digest));
    let answer = first;
    for (let failures = 0; ; ) {
      const before = file.frontier;
      try {
        if (answer === undefined) await this.#giveWay(file, LONGEST_START_WAIT_MS);
        answer ??= await this.#resume(file);
        await this.#take(answer, file, digester);
        if (file.frontier === file.sizeBytes) return digester.digest();
        throw new AppError("unavailable", "Cannot receive blob: it ends too early");
      } catch (error) {
        answer?.close();
        answer = undefined;
        failures = file.frontier > before ? 1 : failures + 1;
        if (!isWorthResuming(error) || failures > MAX_RESUMPTIONS) throw error;
        await delay(RESUME_DELAY_MS * 2 ** (failures - 1), this.#stopping.signal);
      }
    }
  }

  async #take(answer: RawAnswer, file: GrowingFile, digester: Digester): Promise<void> {
    // An upstream without ranges sends what is here already once more.
    let skip = answer.status === 200 ? file.frontier : 0;
    for await (const whole of answer.body) {
      this.#stopping.signal.throwIfAborted();
      const piece = whole.subarray(Math.min(skip, whole.length));
      skip -= whole.length - piece.length;
      if (piece.length === 0) continue;
      if (file.frontier + piece.length > file.sizeBytes) {
        throw new AppError("data_loss", "Cannot receive blob: it is longer than was said");
      }
      digester.update(piece);
      await file.append(piece);
      await this.#giveWay(file, LONGEST_PIECE_WAIT_MS);
    }
  }

  #giveWay(file: GrowingFile, mostMs: number): Promise<void> {
    const rest = {
      isAwaited: () => {
        const isBroken = this.#jumps?.isBroken ?? false;
        return file.isAwaited(isBroken ? file.sizeBytes : file.frontier + JUMP_BYTES);
      },
      onceAwaited: (signal: AbortSignal) => file.onceAwaited(signal),
    };
    return this.#deps.rightOfWay.clear(rest, { mostMs, signal: this.#stopping.signal });
  }

  async #resume({ frontier: start, sizeBytes: end }: GrowingFile): Promise<RawAnswer> {
    const answer = await this.#deps.open(start === 0 ? undefined : { start, end });
    const { status } = answer;
    if (status === 200 || isRangeFrom(answer, start)) return answer;
    answer.close();
    const code = status >= 500 || status === 429 ? "unavailable" : "failed_precondition";
    throw new AppError(code, `Cannot go on receiving blob: the answer is ${status}`);
  }
}

function isWorthResuming(error: unknown): boolean {
  const { code } = AppError.from(error);
  return code === "unavailable" || code === "deadline_exceeded";
}
