import { EventEmitter, once } from "node:events";
import type { FileHandle } from "node:fs/promises";
import { AppError } from "@soci-ts/core";
import type { ByteRange } from "../range.ts";
import { Coverage } from "./coverage.ts";

/** A reader's share of a file that grows. */
export interface Reader {
  readonly pieces: AsyncIterable<Uint8Array>;
  /** Idempotent. */
  readonly cancel: () => void;
}

const CHUNK_BYTES = 256 * 1024;

/**
 * A file of known size that is written in several places while it is read. Readers get bytes as soon as they are there, and wait
 * for others. Who reads the whole gets the last byte only when the content is verified, so that wrong content is never complete.
 * The file is closed when it is settled and nobody uses it any more.
 */
export class GrowingFile {
  readonly sizeBytes: number;
  readonly #file: FileHandle;
  readonly #onClose: () => void;
  readonly #coverage = new Coverage();
  readonly #events = new EventEmitter().setMaxListeners(0);
  readonly #waiting = new Set<{ readonly at: number }>();
  #frontier = 0;
  #lastWrite: Promise<void> = Promise.resolve();
  #users = 0;
  #state: "growing" | "verified" | AppError = "growing";
  #isClosed = false;

  /** @param onClose - called once, when the file is about to be closed. */
  constructor(file: FileHandle, sizeBytes: number, onClose: () => void) {
    this.#file = file;
    this.sizeBytes = sizeBytes;
    this.#onClose = onClose;
  }

  /** The end (exclusive) of the bytes that are here from `offset` on; `offset` itself if that byte is not. */
  endFrom(offset: number): number {
    return this.#coverage.endFrom(offset);
  }

  /** The first byte at or after `offset` that is here; undefined if there is none. */
  nextFrom(offset: number): number | undefined {
    return this.#coverage.nextFrom(offset);
  }

  /** How far it was appended to. */
  get frontier(): number {
    return this.#frontier;
  }

  /** True if the range is all of it. */
  isWhole({ start, end }: ByteRange): boolean {
    return start === 0 && end === this.sizeBytes;
  }

  /** True if a reader waits for a byte before `offset`. */
  isAwaited(offset: number): boolean {
    return [...this.#waiting].some(({ at }) => at < offset);
  }

  /** Resolves when a reader begins to wait for some byte. Rejects on abort. */
  onceAwaited(signal: AbortSignal): Promise<unknown> {
    return once(this.#events, "waiting", { signal });
  }

  /** Writes the next bytes of the whole, unless it is settled. @throws as the file system does. */
  append(bytes: Uint8Array): Promise<void> {
    return this.#inTurn(async () => {
      await this.#write(bytes, this.#frontier);
      this.#frontier += bytes.length;
      this.#events.emit("progress");
    });
  }

  /** Writes bytes further ahead, unless it is settled. What was appended meanwhile stays: only that is what its digest was taken of. */
  insert(bytes: Uint8Array, position: number): Promise<void> {
    return this.#inTurn(async () => {
      const ahead = bytes.subarray(Math.max(0, this.#frontier - position));
      await this.#write(ahead, position + bytes.length - ahead.length);
      this.#events.emit("progress");
    });
  }

  /** One write after the other, so that none that was overtaken ends last. */
  #inTurn(work: () => Promise<void>): Promise<void> {
    if (this.#state !== "growing") return Promise.resolve();
    this.#users += 1;
    const done = this.#lastWrite.then(work).finally(() => this.#leave());
    this.#lastWrite = done.catch(() => {});
    return done;
  }

  async #write(bytes: Uint8Array, position: number): Promise<void> {
    for (let written = 0; written < bytes.length; ) {
      const rest = bytes.subarray(written);
      const { bytesWritten } = await this.#file.write(rest, 0, rest.length, position + written);
      written += bytesWritten;
    }
    this.#coverage.add(position, position + bytes.length);
  }

  /** Syncs what was written. */
  async sync(): Promise<void> {
    await this.#lastWrite;
    await this.#file.datasync();
  }

  /** Says how it ended: readers of wrong or unfinished content fail. Nothing is written any more. */
  settle(outcome: "verified" | AppError): void {
    this.#users += 1;
    this.#state = outcome;
    this.#events.emit("progress");
    this.#leave();
  }

  /**
   * The bytes of a range within the size, as they come. To be cancelled in any case.
   * @returns undefined if it is closed or has failed.
   */
  reader(range: ByteRange): Reader | undefined {
    if (this.#isClosed || this.#state instanceof AppError) return undefined;
    this.#users += 1;
    const abort = new AbortController();
    const cancel = (): void => {
      if (abort.signal.aborted) return;
      abort.abort();
      this.#leave();
    };
    return { pieces: this.#pieces(range, abort.signal), cancel };
  }

  async *#pieces(range: ByteRange, signal: AbortSignal): AsyncIterable<Uint8Array> {
    for (let at = range.start; at < range.end; ) {
      signal.throwIfAborted();
      const upTo = Math.min(this.#readableEnd(range, at), at + CHUNK_BYTES);
      if (upTo === at) {
        if (this.#state instanceof AppError) throw this.#state;
        await this.#waitAt(at, signal);
        continue;
      }
      const buffer = Buffer.allocUnsafe(upTo - at);
      const { bytesRead } = await this.#file.read(buffer, 0, buffer.length, at);
      if (bytesRead === 0) throw new AppError("data_loss", "Cannot read what was written");
      yield buffer.subarray(0, bytesRead);
      at += bytesRead;
    }
  }

  async #waitAt(at: number, signal: AbortSignal): Promise<void> {
    const waiting = { at };
    this.#waiting.add(waiting);
    this.#events.emit("waiting");
    try {
      await once(this.#events, "progress", { signal });
    } finally {
      this.#waiting.delete(waiting);
    }
  }

  /** Who reads the whole gets only bytes that its digest is of. */
  #readableEnd(range: ByteRange, at: number): number {
    const { end } = range;
    if (!this.isWhole(range)) return Math.max(at, Math.min(this.#coverage.endFrom(at), end));
    return this.#state === "verified" ? end : Math.max(at, Math.min(this.#frontier, end - 1));
  }

  #leave(): void {
    this.#users -= 1;
    if (this.#users > 0 || this.#state === "growing" || this.#isClosed) return;
    this.#isClosed = true;
    this.#onClose();
    // What was read and written is known by now.
    this.#file.close().catch(() => {});
  }
}
