import { Worker } from "node:worker_threads";
import {
  AppError,
  abortable,
  type Deferred,
  deferred,
  type IoOptions,
  Semaphore,
} from "@soci-ts/core";
import { ByteRing } from "./byte-ring.ts";
import { collectGarbage } from "./collect-garbage.ts";
import type { IndexThreadData, IndexThreadMessage, IndexThreadOrder } from "./index-thread.ts";
import type { BlobStream, ScanTask, ZtocUse } from "./scan-layer.ts";

/** Between the main thread and the one that inflates: what a registry sends while that is busy with one piece. */
const BLOB_RING_BYTES = 2_097_152;
/** Pieces of a stream that were copied, and of ztocs that were stored, are garbage that is collected after so many bytes. */
const COLLECT_BYTES = 2_097_152;
/** What a stream reads that is not needed any more. */
const NO_MATTER_WHAT = new Uint8Array(1);
/** Their garbage is small and short-lived; with the default they would let tens of megabytes of it pile up. */
const YOUNG_GENERATION_MIB = 2;

/** What to do with the bytes of one layer. */
export interface ThreadScanOptions<T> extends IoOptions {
  /** Takes the ztoc. */
  readonly use: ZtocUse<T>;
  /** Told how many bytes of the blob have been worked through. */
  readonly onBytes?: ((compressedBytes: number) => void) | undefined;
  /** Told that reading the stream, rather than what was read, failed. */
  readonly onInputFailure?: (() => void) | undefined;
}

/**
 * Threads that make ztocs: one for each layer that is worked on at a time. The calling thread only puts what comes in into their memory. Threads
 * start when they are needed and serve one layer after the other; closing ends them at once, whatever they do.
 */
export class LayerThreads implements AsyncDisposable {
  readonly #permits: Semaphore;
  readonly #idle: LayerThread[] = [];
  readonly #all = new Set<LayerThread>();

  /** @param jobs - most layers at a time. */
  constructor(jobs: number) {
    this.#permits = new Semaphore(jobs);
  }

  /** Begins to start threads for so many layers, which will soon be there. */
  start(count: number): void {
    while (this.#all.size < count) this.#idle.push(this.#newThread());
  }

  /** Runs `work` when there are threads for one more layer. */
  async run<T>(work: () => Promise<T>, { signal }: IoOptions): Promise<T> {
    return await this.#permits.run(work, signal);
  }

  /**
   * Makes the ztoc of a layer, see `scanLayer`, and has it used; call within {@link LayerThreads.run}. Errors of the threads come as AppErrors
   * with their code.
   * @throws what reading the stream throws, or the use; the signal's reason.
   */
  async scan<T>(task: ScanTask, open: BlobStream, options: ThreadScanOptions<T>): Promise<T> {
    const thread = this.#idle.pop() ?? this.#newThread();
    try {
      return await thread.scan(task, open, options);
    } finally {
      if (thread.isIdle) this.#idle.push(thread);
      else await this.#end(thread);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.#all].map((thread) => this.#end(thread)));
  }

  #newThread(): LayerThread {
    const thread = new LayerThread();
    this.#all.add(thread);
    return thread;
  }

  async #end(thread: LayerThread): Promise<void> {
    this.#all.delete(thread);
    await thread.end();
  }
}

class LayerThread {
  readonly #blob = ByteRing.create(BLOB_RING_BYTES);
  readonly #worker: Worker;
  /** Gets what the thread says next, but for progress. */
  #answer: Deferred<IndexThreadMessage> | undefined;
  #onBytes: ((compressedBytes: number) => void) | undefined;
  /** Resolves the wait for room in the ring. */
  #moved: (() => void) | undefined;
  /** True while it can take a layer: no half-read one is in the ring, and nobody reads into that. */
  isIdle = true;
  #isFed = true;

  constructor() {
    const workerData: IndexThreadData = { blob: this.#blob.memory };
    this.#worker = new Worker(new URL("./index-thread.js", import.meta.url), {
      name: "index-thread",
      workerData,
      resourceLimits: { maxYoungGenerationSizeMb: YOUNG_GENERATION_MIB },
    });
    this.#worker.on("message", (message: IndexThreadMessage) => this.#hear(message));
    this.#worker.on("error", (error) => this.#lost(error.message));
    this.#worker.on("exit", () => this.#lost("its thread ended"));
    // Only a layer that is worked on keeps the process alive.
    this.#worker.unref();
  }

  async scan<T>(task: ScanTask, open: BlobStream, options: ThreadScanOptions<T>): Promise<T> {
    const { signal, onBytes, use } = options;
    signal?.throwIfAborted();
    this.isIdle = false;
    this.#onBytes = onBytes;
    this.#blob.reset();
    this.#worker.ref();
    try {
      const made = await this.#fed(this.#ask({ kind: "scan", task }, signal), open, options);
      if (made.kind !== "scanned") throw new TypeError(`the thread said ${made.kind}`);
      const { digest, sizeBytes } = made;
      const used = await use({ digest, sizeBytes, pieces: this.#pieces(signal) });
      this.#order({ kind: "done" });
      this.isIdle = true;
      return used;
    } finally {
      this.#worker.unref();
      this.#onBytes = undefined;
    }
  }

  async end(): Promise<void> {
    this.isIdle = false;
    this.#lost("its thread was ended");
    await this.#worker.terminate();
  }

  /** The answer, while the stream is copied into the ring. */
  async #fed<A>(
    answer: Promise<A>,
    open: BlobStream,
    options: Pick<ThreadScanOptions<unknown>, "onInputFailure">,
  ): Promise<A> {
    const scan = { isOver: false };
    this.#isFed = false;
    const ending = answer.finally(() => {
      scan.isOver = true;
      this.#moved?.();
    });
    const feeding = this.#feed(open, scan)
      .catch((error: unknown) => {
        if (!scan.isOver) options.onInputFailure?.();
        throw error;
      })
      .finally(() => {
        this.#isFed = true;
      });
    const [result] = await Promise.all([ending, feeding]);
    return result;
  }

  /** Has files read into the ring and copies other streams there, waiting where it is full; stops when the layer is done with. */
  async #feed(open: BlobStream, scan: { readonly isOver: boolean }): Promise<void> {
    let copiedBytes = 0;
    for await (const bytes of open(() => this.#room(scan))) {
      if (bytes.buffer === this.#blob.memory) {
        if (scan.isOver) return;
        this.#blob.commit(bytes.length);
        continue;
      }
      for (let at = 0; at < bytes.length; ) {
        if (scan.isOver) return;
        const count = this.#blob.offer(bytes.subarray(at));
        at += count;
        if (count === 0) await this.#movement();
      }
      copiedBytes += bytes.length;
      if (copiedBytes < COLLECT_BYTES) continue;
      collectGarbage("young");
      copiedBytes = 0;
    }
    if (!scan.isOver) this.#blob.end();
  }

  async #room(scan: { readonly isOver: boolean }): Promise<Uint8Array> {
    for (;;) {
      const room = scan.isOver ? NO_MATTER_WHAT : this.#blob.room();
      if (room.length > 0) return room;
      await this.#movement();
    }
  }

  async *#pieces(signal: AbortSignal | undefined): AsyncGenerator<Uint8Array> {
    let givenBytes = 0;
    for (;;) {
      const answer = await this.#ask({ kind: "next" }, signal);
      if (answer.kind !== "piece" || answer.bytes === undefined) return;
      yield answer.bytes;
      givenBytes += answer.bytes.length;
      if (givenBytes < COLLECT_BYTES) continue;
      collectGarbage("all");
      givenBytes = 0;
    }
  }

  #ask(order: IndexThreadOrder, signal: AbortSignal | undefined): Promise<IndexThreadMessage> {
    const answer = deferred<IndexThreadMessage>();
    this.#answer = answer;
    this.#order(order);
    return abortable(answer.promise, signal);
  }

  #order(order: IndexThreadOrder): void {
    this.#worker.postMessage(order);
  }

  #movement(): Promise<void> {
    return new Promise((resolve) => {
      this.#moved = resolve;
    });
  }

  #hear(message: IndexThreadMessage): void {
    if (message.kind === "progress") {
      this.#onBytes?.(message.compressedBytes);
      this.#moved?.();
      return;
    }
    if (message.kind !== "failed") {
      this.#answer?.resolve(message);
      return;
    }
    const { code, message: text, details } = message;
    this.isIdle = this.#isFed;
    this.#answer?.reject(new AppError(code, text, { details }));
  }

  #lost(state: string): void {
    this.isIdle = false;
    this.#answer?.reject(new AppError("internal", `Cannot index the layer: ${state}`));
  }
}
