import { constants } from "node:os";
import {
  AppError,
  abortable,
  type Logger,
  type Metrics,
  silentLogger,
  silentMetrics,
} from "@soci-ts/core";
import { answerRequest } from "./answer.ts";
import { ENDED, type FuseChannel, NOT_WANTED, RETRY } from "./channel.ts";
import { describeRequest } from "./describe.ts";
import { errnoOf, FuseError, readErrnoOf } from "./errno.ts";
import type { FuseHandler } from "./handler.ts";
import { type Negotiated, negotiateInit } from "./init.ts";
import { type JournalEntry, journalKey, type RequestJournal } from "./journal.ts";
import {
  FUSE_NOTIFY_RESEND,
  type InitFlagName,
  OPCODES,
  REQUEST_BUFFER_BYTES,
} from "./protocol.ts";
import { ReadBuffers } from "./read-buffers.ts";
import {
  encodeForgetPages,
  encodeInit,
  encodeNotification,
  encodeOutHeader,
  type PageRange,
} from "./reply.ts";
import { decodeRequest, type FuseRequest, peekOpcode, peekUnique } from "./request.ts";
import { Trials } from "./trials.ts";

/** What a session is made of. */
export interface FuseSessionOptions {
  readonly channel: FuseChannel;
  readonly handler: FuseHandler;
  readonly logger?: Logger;
  readonly metrics?: Metrics;
  /** Requests waited for at a time; each holds a libuv thread. Default 2; with a journal, one for each of its buffers. */
  readonly readers?: number;
  /** After this many milliseconds a READ is answered with EIO, whatever its handler does. Default 60,000. */
  readonly readDeadlineMs?: number;
  /**
   * Given, the session takes over a connection that another process has served with this and is gone; a third one has kept the descriptor open. INIT
   * does not come again then. Requests that were taken and not answered come again where HAS_RESEND was negotiated (Linux 6.9); elsewhere
   * they are answered from the journal. Without one, each of them hangs until its process is killed.
   */
  readonly negotiated?: Negotiated | undefined;
  /** Where requests in flight are written down for a successor, and where those of a predecessor are. The session is its only user. */
  readonly journal?: RequestJournal | undefined;
  /** `off`: HAS_RESEND is not negotiated, as on kernels that do not have it. Default `auto`. */
  readonly resend?: "auto" | "off";
  /**
   * Told before the kernel's INIT is answered: what is kept here at once is there for a successor, however soon this process ends. One that
   * ends between this and the answer has INIT sent again to its successor.
   */
  readonly onNegotiated?: (negotiated: Negotiated) => void;
  /** Told once, when the kernel's INIT has been answered or the connection was taken over: the mount can be used. */
  readonly onReady?: (negotiated: Negotiated) => void;
}

const { EAGAIN, EINTR, EINVAL, EIO } = constants.errno;

/** What a kernel says to a notification that it does not know. */
const UNSUPPORTED = new Set(["EINVAL", "ENOSYS", "EOPNOTSUPP"]);

/** A predecessor that is killed while this one starts has ended its reads by then. */
const LATE_MS = 1000;
/** What the kernel has not sent again by then, it has given up. */
const RESENT_MS = 30_000;

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
  readonly #metrics: Metrics;
  readonly #journal: RequestJournal | undefined;
  readonly #options: FuseSessionOptions;
  /** Aborts reads that are being answered, by `unique`. */
  readonly #inFlight = new Map<bigint, AbortController>();
  readonly #readBuffers = new ReadBuffers();
  #trials: Trials | undefined;
  #negotiated: Negotiated | undefined;
  #messages = 0;

  constructor(options: FuseSessionOptions) {
    this.#channel = options.channel;
    this.#handler = options.handler;
    this.#logger = options.logger ?? silentLogger;
    this.#metrics = options.metrics ?? silentMetrics;
    this.#journal = options.journal;
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
    const { negotiated, readers = 2 } = this.#options;
    const timers = negotiated === undefined ? [] : this.#takeOver(negotiated);
    if (negotiated === undefined) this.#answerLostInit();
    const buffers =
      this.#journal?.buffers ??
      Array.from({ length: readers }, () => new Uint8Array(REQUEST_BUFFER_BYTES));
    try {
      await Promise.all(buffers.map((buffer) => this.#readLoop(buffer)));
    } finally {
      for (const timer of timers) clearTimeout(timer);
      this.#trials?.close();
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
      // The kernel has let go of the file, and so of its pages.
      if (NOT_WANTED.has(code)) return true;
      throw AppError.from(error);
    }
  }

  async #readLoop(buffer: Uint8Array): Promise<void> {
    for (;;) {
      const length = await this.#receive(buffer);
      if (length === undefined) return;
      if (length > 0) this.#take(buffer.subarray(0, length));
      this.#journal?.emptied(buffer);
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

  /** Decodes and writes down before it returns, because the buffer is used again; answers later. */
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
    this.#dispatch(request, message);
  }

  #dispatch(request: FuseRequest, message: Uint8Array): void {
    const { kind } = request;
    if (kind === "FORGET") return; // node ids need no bookkeeping, and FORGET has no reply
    if (kind === "INIT") this.#init(request);
    else if (kind === "INTERRUPT") this.#interrupt(request.unique, request.target);
    else this.#accept(request, this.#journal?.take(message, request.unique));
  }

  #accept(request: FuseRequest, entry: JournalEntry | undefined): void {
    if (entry !== undefined && entry.slot === undefined) {
      this.#metrics.count("soci_fuse_unjournaled_requests_total");
    }
    if (entry?.verdict === "guilty") this.#refuse(request, entry);
    else void this.#answer(request, entry?.slot);
  }

  /** Ends a request that is what made servers crash, as far as can be told. */
  #refuse(request: FuseRequest, { slot, crashes }: JournalEntry): void {
    const fields = { request: describeRequest(request), crashes, errno: EIO };
    this.#logger.error("FUSE request refused: servers crashed while they worked on it", fields);
    this.#metrics.count("soci_fuse_poison_requests_total");
    this.#reply(request.unique, EIO);
    if (slot !== undefined) this.#journal?.free(slot);
  }

  #init(request: Extract<FuseRequest, { kind: "INIT" }>): void {
    const negotiated = negotiateInit(request.offer, this.#options.resend);
    this.#negotiated = negotiated;
    this.#options.onNegotiated?.(negotiated);
    this.#reply(request.unique, 0, encodeInit(negotiated));
    if (this.#options.negotiated === undefined) this.#options.onReady?.(negotiated);
  }

  /** @returns what has to be stopped when the session ends. */
  #takeOver(negotiated: Negotiated): readonly NodeJS.Timeout[] {
    this.#negotiated = negotiated;
    const journal = this.#journal;
    const suspects = journal?.records.filter(({ verdict }) => verdict === "suspect") ?? [];
    this.#trials = new Trials(suspects);
    const timers: NodeJS.Timeout[] = [];
    if (this.#has("HAS_RESEND")) {
      this.#askForResend();
      timers.push(setTimeout(() => journal?.forgetUnclaimed(), RESENT_MS));
    } else if (journal !== undefined) {
      this.#replay([...journal.records.map(({ message }) => message), ...journal.received]);
    }
    if (journal !== undefined) {
      timers.push(setTimeout(() => this.#replay(journal.takeLate()), LATE_MS));
    }
    this.#options.onReady?.(negotiated);
    return timers;
  }

  /** Does again what a predecessor had taken: the file system is read-only, so nothing is done twice. */
  #replay(messages: readonly Uint8Array[]): void {
    if (messages.length === 0) return;
    this.#logger.info("FUSE requests taken from the journal", { count: messages.length });
    this.#metrics.count("soci_fuse_replayed_requests_total", messages.length);
    for (const message of messages) this.#take(message);
  }

  /** INIT comes once. A predecessor may have received it and ended; all else in the journal is another connection's. */
  #answerLostInit(): void {
    this.#journal?.forgetUnclaimed();
    this.#replay(this.#journal?.received.filter(isInit) ?? []);
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
      // The one before us may have taken it and not have written it down, and then it never comes: who waits for it can only be let go.
      this.#reply(target, EINTR);
    } else this.#reply(unique, EAGAIN);
  }

  /** Never rejects. */
  async #answer(request: FuseRequest, slot: number | undefined): Promise<void> {
    const abort = new AbortController();
    const timer = request.kind === "READ" ? this.#startDeadline(abort) : undefined;
    this.#inFlight.set(request.unique, abort);
    const into = request.kind === "READ" ? this.#readBuffers.take() : undefined;
    try {
      const turn = this.#trials?.turn(journalKey(request.unique));
      if (turn !== undefined) await abortable(turn, abort.signal);
      if (slot !== undefined) this.#journal?.begin(slot);
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
      if (slot !== undefined) this.#journal?.free(slot);
      this.#trials?.done(journalKey(request.unique));
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
      if (NOT_WANTED.has(code)) return;
      this.#logger.error("FUSE reply not taken", { unique: String(unique), error: String(error) });
      if (errno === 0) this.#reply(unique, EIO);
    }
  }
}

function ended(): AppError {
  return new AppError("cancelled", "Cannot finish the request: the file system was unmounted");
}

function isInit(message: Uint8Array): boolean {
  return peekOpcode(message) === OPCODES.INIT;
}
