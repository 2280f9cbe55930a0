import { constants } from "node:os";
import { AppError, abortable, type Logger, silentLogger } from "@soci-ts/core";
import { answerRequest } from "./answer.ts";
import type { FuseChannel } from "./channel.ts";
import { describeRequest } from "./describe.ts";
import { errnoOf, FuseError, readErrnoOf } from "./errno.ts";
import type { FuseHandler } from "./handler.ts";
import { type Negotiated, negotiateInit } from "./init.ts";
import { FUSE_NOTIFY_RESEND, type InitFlagName, REQUEST_BUFFER_BYTES } from "./protocol.ts";
import { ReadBuffers } from "./read-buffers.ts";
import {
  encodeForgetPages,
  encodeInit,
  encodeNotification,
  encodeOutHeader,
  type PageRange,
} from "./reply.ts";
import { decodeRequest, type FuseRequest, peekUnique } from "./request.ts";

/** What a session is made of. */
export interface FuseSessionOptions {
  readonly channel: FuseChannel;
  readonly handler: FuseHandler;
  readonly logger?: Logger;
  /** Requests waited for at a time; each holds a libuv thread. Default 2. */
  readonly readers?: number;
  /** After this many milliseconds a READ is answered with EIO, whatever its handler does. Default 60,000. */
  readonly readDeadlineMs?: number;
  /**
   * Given, the session takes over a connection that another process has served with this and is gone; a third one has kept the descriptor open. INIT
   * does not come again then. Requests that were taken and not answered come again where HAS_RESEND was negotiated (Linux 6.9); elsewhere
   * each of them hangs until its process is killed.
   */
  readonly negotiated?: Negotiated | undefined;
  /**
   * Told before the kernel's INIT is answered: what is kept here at once is there for a successor, however soon this process ends. One that
   * ends between this and the answer has INIT sent again to its successor.
   */
  readonly onNegotiated?: (negotiated: Negotiated) => void;
  /** Told once, when the kernel's INIT has been answered or the connection was taken over: the mount can be used. */
  readonly onReady?: (negotiated: Negotiated) => void;
}

const { EAGAIN, EINTR, EINVAL, EIO } = constants.errno;

/** Errors of `receive` after which the next one is tried: no request was lost. */
const RETRY = new Set(["EINTR", "EAGAIN", "ENOENT"]);
/** What a kernel says to a notification that it does not know. */
const UNSUPPORTED = new Set(["EINVAL", "ENOSYS", "EOPNOTSUPP"]);
/** The mount is gone: unmounted, or its connection aborted. */
const ENDED = new Set(["ENODEV", "ECONNABORTED"]);

/**
 * Serves one FUSE connection.
 *
 * Life: made, `run` once; the kernel's INIT comes first and is answered (or the connection is taken over); then requests, answered in any
 * order; `run` resolves when the file system has been unmounted. There is no way to stop a session from inside: unmount it, from another process.
 */
export class FuseSession {
  readonly #channel: FuseChannel;
  readonly #handler: FuseHandler;
  readonly #logger: Logger;
  readonly #options: FuseSessionOptions;
  /** Aborts reads that are being answered, by `unique`. */
  readonly #inFlight = new Map<bigint, AbortController>();
  readonly #readBuffers = new ReadBuffers();
  #negotiated: Negotiated | undefined;
  #messages = 0;

  constructor(options: FuseSessionOptions) {
    this.#channel = options.channel;
    this.#handler = options.handler;
    this.#logger = options.logger ?? silentLogger;
    this.#options = options;
  }

  /** Messages received from the kernel so far, of any kind. */
  get messages(): number {
    return this.#messages;
  }

  /**
   * Serves until the mount ends.
   * @throws AppError `internal` if the descriptor fails in another way; `unimplemented` for a kernel that is too old.
   */
  async run(): Promise<void> {
    if (this.#options.negotiated !== undefined) this.#takeOver(this.#options.negotiated);
    const readers = Array.from({ length: this.#options.readers ?? 2 }, () => this.#readLoop());
    try {
      await Promise.all(readers);
    } finally {
      for (const abort of this.#inFlight.values()) abort.abort(ended());
    }
  }

  /**
   * Has the kernel drop pages of a file that it has read, for whoever keeps their content elsewhere; what is read of them again comes as a READ again. The
   * kernel waits for pages that are being read, and a thread that waits so can't be killed: give ranges only whose READs were all answered, and not
   * many calls at once, since each holds a thread of libuv's pool.
   * @returns false if the kernel can't do that.
   * @throws AppError if it fails in another way.
   */
  async forgetPages(range: PageRange): Promise<boolean> {
    try {
      await this.#channel.sendAside(encodeForgetPages(range));
      return true;
    } catch (error) {
      const { code = "" } = error as NodeJS.ErrnoException;
      if (UNSUPPORTED.has(code)) return false;
      // ENOENT: the kernel has let go of the file, and so of its pages.
      if (code === "ENOENT" || ENDED.has(code)) return true;
      throw AppError.from(error);
    }
  }

  async #readLoop(): Promise<void> {
    const buffer = new Uint8Array(REQUEST_BUFFER_BYTES);
    for (;;) {
      const length = await this.#receive(buffer);
      if (length === undefined) return;
      if (length > 0) this.#take(buffer.subarray(0, length));
    }
  }

  /** Length of the next request, 0 to try again, `undefined` at the end. */
  async #receive(buffer: Uint8Array): Promise<number | undefined> {
    try {
      return await this.#channel.receive(buffer);
    } catch (error) {
      const { code = "" } = error as NodeJS.ErrnoException;
      if (RETRY.has(code)) return 0;
      if (ENDED.has(code)) return undefined;
      throw AppError.from(error);
    }
  }

  /** Decodes before it returns, because the buffer is used again; answers later. */
  #take(message: Uint8Array): void {
    this.#messages += 1;
    let request: FuseRequest;
    try {
      request = decodeRequest(message);
    } catch (error) {
      this.#logger.error("FUSE request not understood", { error: String(error) });
      const unique = peekUnique(message);
      if (unique !== undefined) this.#reply(unique, EINVAL);
      return;
    }
    this.#logger.debug("FUSE request", { request: describeRequest(request) });
    this.#dispatch(request);
  }

  #dispatch(request: FuseRequest): void {
    const { kind } = request;
    if (kind === "FORGET") return; // node ids need no bookkeeping, and FORGET has no reply
    if (kind === "INIT") this.#init(request);
    else if (kind === "INTERRUPT") this.#interrupt(request.unique, request.target);
    else void this.#answer(request);
  }

  #init(request: Extract<FuseRequest, { kind: "INIT" }>): void {
    const negotiated = negotiateInit(request.offer);
    this.#negotiated = negotiated;
    this.#options.onNegotiated?.(negotiated);
    this.#reply(request.unique, 0, encodeInit(negotiated));
    if (this.#options.negotiated === undefined) this.#options.onReady?.(negotiated);
  }

  #takeOver(negotiated: Negotiated): void {
    this.#negotiated = negotiated;
    if (this.#has("HAS_RESEND")) this.#askForResend();
    this.#options.onReady?.(negotiated);
  }

  #askForResend(): void {
    try {
      this.#channel.send([encodeNotification(FUSE_NOTIFY_RESEND)]);
    } catch (error) {
      const { code = "" } = error as NodeJS.ErrnoException;
      if (!ENDED.has(code)) throw AppError.from(error); // else the readers find out the same
    }
  }

  #has(flag: InitFlagName): boolean {
    return this.#negotiated?.flags.includes(flag) ?? false;
  }

  /** Aborts the target. One that is not here yet is on its way in another reader: EAGAIN brings the interrupt again. */
  #interrupt(unique: bigint, target: bigint): void {
    const abort = this.#inFlight.get(target);
    if (abort !== undefined) {
      abort.abort(new AppError("cancelled", "Cannot finish the read: its reader was interrupted"));
    } else if (this.#options.negotiated !== undefined && !this.#has("HAS_RESEND")) {
      // The one before us may have taken it, and then it never comes: whoever waits for it can only be let go.
      this.#reply(target, EINTR);
    } else this.#reply(unique, EAGAIN);
  }

  /** Never rejects. */
  async #answer(request: FuseRequest): Promise<void> {
    const abort = new AbortController();
    const timer = request.kind === "READ" ? this.#startDeadline(abort) : undefined;
    this.#inFlight.set(request.unique, abort);
    const into = request.kind === "READ" ? this.#readBuffers.take() : undefined;
    try {
      const answer = answerRequest(this.#handler, request, {
        signal: abort.signal,
        into,
        noOpen: this.#has("NO_OPEN_SUPPORT"),
        noOpendir: this.#has("NO_OPENDIR_SUPPORT"),
      });
      this.#reply(request.unique, 0, await abortable(answer, abort.signal));
      // Only now: a handler that was given up or failed may still be writing to it.
      if (into !== undefined) this.#readBuffers.giveBack(into);
    } catch (error) {
      this.#reply(request.unique, this.#judge(request, error));
    } finally {
      clearTimeout(timer);
      this.#inFlight.delete(request.unique);
    }
  }

  #startDeadline(abort: AbortController): NodeJS.Timeout {
    const deadlineMs = this.#options.readDeadlineMs ?? 60_000;
    return setTimeout(() => {
      const message = `Cannot finish the read: no answer after ${deadlineMs} ms`;
      abort.abort(new AppError("deadline_exceeded", message));
    }, deadlineMs);
  }

  /** The errno for a failure; those that are news are logged, here and nowhere else. */
  #judge(request: FuseRequest, error: unknown): number {
    const errno = request.kind === "READ" ? readErrnoOf(error) : errnoOf(error);
    if (!(error instanceof FuseError) || errno === EIO) {
      const { code, message, details } = AppError.from(error);
      const fields = { ...details, code, error: message, request: describeRequest(request), errno };
      if (code === "cancelled") this.#logger.debug("FUSE request interrupted", fields);
      else this.#logger.error("FUSE request failed", fields);
    }
    return errno;
  }

  #reply(unique: bigint, errno: number, payload?: Uint8Array): void {
    const header = encodeOutHeader(unique, errno, payload?.length ?? 0);
    try {
      this.#channel.send(
        payload === undefined || payload.length === 0 ? [header] : [header, payload],
      );
    } catch (error) {
      const { code = "" } = error as NodeJS.ErrnoException;
      // ENOENT: the kernel gave the request up (its reader was killed, the mount ended).
      if (code === "ENOENT" || ENDED.has(code)) return;
      this.#logger.error("FUSE reply not taken", { unique: String(unique), error: String(error) });
      if (errno === 0) this.#reply(unique, EIO);
    }
  }
}

function ended(): AppError {
  return new AppError("cancelled", "Cannot finish the request: the file system was unmounted");
}
