import { EventEmitter, once } from "node:events";
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
import { Coverage } from "./coverage.ts";
import { JUMP_BYTES, MAX_JUMPS, MAX_RESUMPTIONS } from "./limits.ts";
import { type HeldAnswer, held } from "./relay.ts";

/** Asks the upstream for the blob, or for a range of it. */
export type OpenBlob = (range?: ByteRange) => Promise<RawAnswer>;

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
  readonly open: OpenBlob;
}

/** A client's share of a transfer. */
export interface Reader {
  readonly pieces: AsyncIterable<Uint8Array>;
  /** Idempotent. */
  readonly cancel: () => void;
}

const CHUNK_BYTES = 256 * 1024;
const RESUME_DELAY_MS = 200;

/**
 * A blob on its way from an upstream into the cache, read by any number of clients meanwhile.
 *
 * One request brings all of it, from the first byte to the last, at the upstream's speed, whether or not anybody still waits;
 * it is taken up again where it breaks off. A reader that begins far ahead has its range fetched by a request of its own (a jump),
 * whose bytes others may read too. When all is here the digest is checked: if it is right the file becomes an entry of the cache;
 * if not, readers of the whole, who were not given the last byte yet, fail.
 */
export class Transfer {
  readonly digest: Digest;
  /** What was answered; rejects if nothing was. */
  readonly head: Promise<TransferHead>;
  /** Resolves at the end: true if the blob is in the cache. */
  readonly verified: Promise<boolean>;
  readonly #deps: TransferDeps;
  readonly #coverage = new Coverage();
  readonly #jumps = new Set<ByteRange>();
  readonly #progress = new EventEmitter().setMaxListeners(0);
  readonly #stopping = new AbortController();
  readonly #ended = deferred<boolean>();
  #running: Promise<void> | undefined;
  #file: FileHandle | undefined;
  #sizeBytes = 0;
  /** Where the next byte of the whole goes. */
  #frontier = 0;
  #readers = 0;
  #state: "running" | "verified" | AppError = "running";
  #hasRanges = true;
  /** Keeps the entry while somebody reads it from here. */
  #unpin = (): void => {};

  /** @param onEnd - called when nothing more can be joined: it is in the cache, or has failed. */
  constructor(deps: TransferDeps, onEnd: () => void) {
    this.digest = deps.digest;
    this.#deps = deps;
    this.verified = this.#ended.promise;
    this.head = this.#begin(() => {
      this.#ended.resolve(this.#state === "verified");
      onEnd();
    });
    // Whoever begins waits for it; nobody else need.
    this.head.catch(() => {});
  }

  /**
   * The bytes of [start, end) as they come. To be called when the head is `sharing`; the range must be within the size.
   * The pieces throw AppError if the transfer fails, the digest is wrong, or they are cancelled. To be cancelled in any case.
   * @returns undefined if it is over: then the cache has it, or it has failed.
   */
  reader(range: ByteRange): Reader | undefined {
    const file = this.#file;
    if (file === undefined || this.#state instanceof AppError) return undefined;
    this.#readers += 1;
    const abort = new AbortController();
    const cancel = (): void => {
      if (abort.signal.aborted) return;
      abort.abort();
      this.#readers -= 1;
      void this.#closeIfDone();
    };
    this.#jump(range);
    return { pieces: this.#pieces(file, range, abort.signal), cancel };
  }

  /** Gives up; readers fail. Resolves when nothing is written any more. Idempotent. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#running;
  }

  async *#pieces(
    file: FileHandle,
    range: ByteRange,
    signal: AbortSignal,
  ): AsyncIterable<Uint8Array> {
    for (let at = range.start; at < range.end; ) {
      signal.throwIfAborted();
      const upTo = Math.min(this.#readableEnd(range, at), at + CHUNK_BYTES);
      if (upTo === at) {
        await this.#more(signal);
        continue;
      }
      const buffer = Buffer.allocUnsafe(upTo - at);
      const { bytesRead } = await file.read(buffer, 0, buffer.length, at);
      if (bytesRead === 0) throw new AppError("data_loss", "Cannot read what was written");
      yield buffer.subarray(0, bytesRead);
      at += bytesRead;
    }
  }

  /** Who gets the whole gets its last byte only when it is verified, so that wrong content is never complete. */
  #readableEnd(range: ByteRange, at: number): number {
    const isWhole = range.start === 0 && range.end === this.#sizeBytes;
    const isHeldBack = isWhole && this.#state !== "verified";
    const most = isHeldBack ? this.#sizeBytes - 1 : range.end;
    return Math.max(at, Math.min(this.#coverage.endFrom(at), most));
  }

  /** Resolves at the next progress. */
  async #more(signal: AbortSignal): Promise<void> {
    if (this.#state instanceof AppError) throw this.#state;
    await once(this.#progress, "progress", { signal });
  }

  async #begin(onEnd: () => void): Promise<TransferHead> {
    try {
      const answer = await this.#deps.open();
      const head = await this.#accept(answer, onEnd);
      if (head.kind !== "sharing") onEnd();
      return head;
    } catch (error) {
      onEnd();
      throw error;
    }
  }

  async #accept(answer: RawAnswer, onEnd: () => void): Promise<TransferHead> {
    if (answer.status !== 200) return { kind: "refused", answer: await held(answer) };
    const { cache } = this.#deps;
    const sizeBytes = lengthOf(answer);
    const reservation = sizeBytes === undefined ? undefined : cache.reserve(sizeBytes);
    if (sizeBytes === undefined || reservation === undefined) return { kind: "alone", answer };
    const path = cache.partialPath();
    try {
      this.#file = await open(path, "wx+");
    } catch (error) {
      this.#note(error);
      reservation.release();
      return { kind: "alone", answer };
    }
    this.#sizeBytes = sizeBytes;
    this.#running = this.#run(answer, { path, reservation }).finally(onEnd);
    return { kind: "sharing", sizeBytes };
  }

  /** Never rejects: failures are what the readers get. */
  async #run(
    answer: RawAnswer,
    place: { readonly path: string; readonly reservation: Reservation },
  ): Promise<void> {
    const { digest, cache } = this.#deps;
    try {
      const actual = await this.#receive(answer);
      if (actual !== digest) throw new DigestMismatchError("blob of an upstream", digest, actual);
      await this.#file?.datasync();
      this.#stopping.signal.throwIfAborted();
      cache.admit(digest, place.path, { sizeBytes: this.#sizeBytes, mediaType: undefined });
      this.#state = "verified";
      this.#unpin = cache.pin(digest);
    } catch (error) {
      this.#state = AppError.from(error);
      this.#note(error);
      await rm(place.path, { force: true });
    }
    place.reservation.release();
    this.#progress.emit("progress");
    await this.#closeIfDone();
  }

  #note(error: unknown): void {
    const { code, message } = AppError.from(error);
    if (code === "resource_exhausted") this.#deps.cache.pause();
    this.#deps.logger.warn("transfer into the cache failed", {
      digest: this.digest,
      code,
      reason: message,
    });
  }

  /** Receives all bytes, taking up again what breaks off; returns their digest. */
  async #receive(first: RawAnswer): Promise<Digest> {
    const digester = new Digester(digestAlgorithm(this.digest));
    let answer: RawAnswer | undefined = first;
    for (let failures = 0; ; ) {
      const before = this.#frontier;
      try {
        answer ??= await this.#resume();
        await this.#take(answer, digester);
        if (this.#frontier === this.#sizeBytes) return digester.digest();
        throw new AppError("unavailable", "Cannot receive blob: it ends too early");
      } catch (error) {
        answer?.close();
        answer = undefined;
        failures = this.#frontier > before ? 1 : failures + 1;
        if (!isWorthResuming(error) || failures > MAX_RESUMPTIONS) throw error;
        await delay(RESUME_DELAY_MS * 2 ** (failures - 1), this.#stopping.signal);
      }
    }
  }

  async #take(answer: RawAnswer, digester: Digester): Promise<void> {
    // An upstream without ranges sends what is here already once more.
    let skip = answer.status === 200 ? this.#frontier : 0;
    const { signal } = this.#stopping;
    for await (const whole of answer.body) {
      signal.throwIfAborted();
      const piece = whole.subarray(Math.min(skip, whole.length));
      skip -= whole.length - piece.length;
      if (piece.length === 0) continue;
      if (this.#frontier + piece.length > this.#sizeBytes) {
        throw new AppError("data_loss", "Cannot receive blob: it is longer than was said");
      }
      digester.update(piece);
      await this.#write(piece, this.#frontier);
      this.#frontier += piece.length;
    }
  }

  async #resume(): Promise<RawAnswer> {
    const start = this.#frontier;
    const answer = await this.#deps.open(start === 0 ? undefined : { start, end: this.#sizeBytes });
    if (answer.status === 200 || isRange(answer, start)) return answer;
    answer.close();
    const code =
      answer.status >= 500 || answer.status === 429 ? "unavailable" : "failed_precondition";
    throw new AppError(code, `Cannot go on receiving blob: the answer is ${answer.status}`);
  }

  /** Fetches a range by itself if its first byte is not to be expected soon. */
  #jump(wanted: ByteRange): void {
    const start = this.#coverage.endFrom(wanted.start);
    const end = Math.min(wanted.end, this.#coverage.nextFrom(start) ?? wanted.end);
    const isSoon = start < this.#frontier + JUMP_BYTES;
    const isUnderWay = [...this.#jumps].some((jump) => jump.start <= start && start < jump.end);
    if (start >= end || isSoon || isUnderWay) return;
    if (!this.#hasRanges || this.#jumps.size >= MAX_JUMPS || this.#state !== "running") return;
    const jump = { start, end };
    this.#jumps.add(jump);
    // It only comes early: if it fails, the reader waits for the whole.
    this.#fetch(jump)
      .catch((error: unknown) => this.#deps.logger.debug("range failed", { reason: String(error) }))
      .finally(() => {
        this.#jumps.delete(jump);
        return this.#closeIfDone();
      });
  }

  async #fetch({ start, end }: ByteRange): Promise<void> {
    const answer = await this.#deps.open({ start, end });
    try {
      if (answer.status === 200) this.#hasRanges = false;
      if (!isRange(answer, start)) return;
      let at = start;
      for await (const piece of answer.body) {
        const kept = piece.subarray(0, Math.min(piece.length, end - at));
        if (kept.length === 0 || this.#state !== "running") return;
        await this.#write(kept, at);
        at += kept.length;
      }
    } finally {
      answer.close();
    }
  }

  async #write(piece: Uint8Array, position: number): Promise<void> {
    for (let written = 0; written < piece.length; ) {
      const rest = piece.subarray(written);
      const at = position + written;
      written += (await this.#file?.write(rest, 0, rest.length, at))?.bytesWritten ?? rest.length;
    }
    this.#coverage.add(position, position + piece.length);
    this.#progress.emit("progress");
  }

  async #closeIfDone(): Promise<void> {
    if (this.#readers > 0 || this.#state === "running" || this.#jumps.size > 0) return;
    const file = this.#file;
    this.#file = undefined;
    this.#unpin();
    await file?.close();
  }
}

/** The length of content that comes as it is. */
function lengthOf({ headers }: RawAnswer): number | undefined {
  const text = headers["content-length"] ?? "";
  const isPlain = (headers["content-encoding"] ?? "identity") === "identity";
  return isPlain && /^\d{1,15}$/.test(text) ? Number(text) : undefined;
}

function isRange({ status, headers }: RawAnswer, start: number): boolean {
  const told = /^bytes (\d{1,15})-/i.exec(headers["content-range"] ?? "")?.[1];
  return status === 206 && told !== undefined && Number(told) === start;
}

function isWorthResuming(error: unknown): boolean {
  const { code } = AppError.from(error);
  return code === "unavailable" || code === "deadline_exceeded";
}
