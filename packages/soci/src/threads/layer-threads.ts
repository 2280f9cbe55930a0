import { Worker } from "node:worker_threads";
import { AppError, type IoOptions, Semaphore } from "@soci-ts/core";
import { ByteRing } from "./byte-ring.ts";
import { collectGarbage } from "./collect-garbage.ts";
import type { IndexThreadData, IndexThreadMessage } from "./index-thread.ts";
import type { ScannedLayer, ScanTask } from "./scan-layer.ts";

/** Between the main thread and the one that inflates: what a registry sends while that is busy with one piece. */
const BLOB_RING_BYTES = 2_097_152;
/** Pieces of a stream that were copied are garbage, collected after so many bytes; ztocs are when they have been stored. */
const COLLECT_BYTES = 2_097_152;
/** Their garbage is small and short-lived; with the default they would let tens of megabytes of it pile up. */
const YOUNG_GENERATION_MIB = 2;

/** What to do with the bytes of one layer. */
export interface ThreadScanOptions extends IoOptions {
  /** Told how many bytes of the blob have been worked through. */
  readonly onBytes?: ((compressedBytes: number) => void) | undefined;
  /** Told that reading the stream, rather than what was read, failed. */
  readonly onInputFailure?: (() => void) | undefined;
}

/**
 * Threads that make ztocs: one for each layer that is worked on at a time. The calling thread only copies what comes in into their memory. Threads
 * start when they are needed and serve one layer after the other; closing ends them at once, whatever they do.
 */
export class LayerThreads implements AsyncDisposable {
  readonly #permits: Semaphore;
  readonly #idle: LayerThread[] = [];
  readonly #all = new Set<LayerThread>();
  /** Of ztocs that were made since garbage was collected. */
  #ztocBytes = 0;

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
   * Makes the ztoc of a layer, see `scanLayer`; call within {@link LayerThreads.run}. Errors of the threads come as AppErrors with their code.
   * @throws what reading the stream throws; the signal's reason.
   */
  async scan(
    task: ScanTask,
    stream: AsyncIterable<Uint8Array>,
    options: ThreadScanOptions,
  ): Promise<ScannedLayer> {
    const thread = this.#idle.pop() ?? this.#newThread();
    if (this.#ztocBytes >= COLLECT_BYTES) {
      collectGarbage("all");
      this.#ztocBytes = 0;
    }
    try {
      const layer = await thread.scan(task, stream, options);
      this.#ztocBytes += layer.ztoc.length;
      if (thread.isIdle) this.#idle.push(thread);
      return layer;
    } catch (error) {
      if (thread.isIdle) this.#idle.push(thread);
      else await this.#end(thread);
      throw error;
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

/** A layer that is being worked on. */
interface Scan {
  resolve(layer: ScannedLayer): void;
  reject(error: unknown): void;
  readonly onBytes: ThreadScanOptions["onBytes"];
}

class LayerThread {
  readonly #blob = ByteRing.create(BLOB_RING_BYTES);
  readonly #worker: Worker;
  #current: Scan | undefined;
  /** Resolves the wait for room in the ring. */
  #moved: (() => void) | undefined;
  /** True while it can take a layer: no half-read one is in the ring. */
  isIdle = true;

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

  async scan(
    task: ScanTask,
    stream: AsyncIterable<Uint8Array>,
    options: ThreadScanOptions,
  ): Promise<ScannedLayer> {
    const { signal, onBytes } = options;
    signal?.throwIfAborted();
    this.isIdle = false;
    this.#blob.reset();
    this.#worker.ref();
    let onAbort: (() => void) | undefined;
    const answer = new Promise<ScannedLayer>((resolve, reject) => {
      this.#current = { resolve, reject, onBytes };
      onAbort = () => reject(signal?.reason);
      signal?.addEventListener("abort", onAbort, { once: true });
      this.#worker.postMessage(task);
    });
    try {
      const [layer] = await Promise.all([answer, this.#feed(stream, options)]);
      return layer;
    } finally {
      if (onAbort !== undefined) signal?.removeEventListener("abort", onAbort);
      this.#worker.unref();
      this.#current = undefined;
      this.#moved?.();
    }
  }

  async end(): Promise<void> {
    this.isIdle = false;
    this.#lost("its thread was ended");
    await this.#worker.terminate();
  }

  /** Copies the stream into the ring, waiting where that is full; stops when the layer is done with. */
  async #feed(stream: AsyncIterable<Uint8Array>, options: ThreadScanOptions): Promise<void> {
    const scan = this.#current;
    const isOver = (): boolean => this.#current !== scan;
    let copiedBytes = 0;
    try {
      for await (const bytes of stream) {
        for (let at = 0; at < bytes.length; ) {
          if (isOver()) return;
          const count = this.#blob.offer(bytes.subarray(at));
          at += count;
          if (count === 0) await this.#movement();
        }
        copiedBytes += bytes.length;
        if (copiedBytes < COLLECT_BYTES) continue;
        collectGarbage("young");
        copiedBytes = 0;
      }
    } catch (error) {
      if (!isOver()) options.onInputFailure?.();
      throw error;
    }
    if (!isOver()) this.#blob.end();
  }

  #movement(): Promise<void> {
    return new Promise((resolve) => {
      this.#moved = resolve;
    });
  }

  #hear(message: IndexThreadMessage): void {
    const current = this.#current;
    if (message.kind === "progress") {
      current?.onBytes?.(message.compressedBytes);
      this.#moved?.();
      return;
    }
    this.isIdle = true;
    this.#current = undefined;
    this.#moved?.();
    if (message.kind === "scanned") {
      current?.resolve(message.layer);
      return;
    }
    const { code, message: text, details } = message;
    current?.reject(new AppError(code, text, { details }));
  }

  #lost(state: string): void {
    const current = this.#current;
    this.isIdle = false;
    this.#current = undefined;
    this.#moved?.();
    current?.reject(new AppError("internal", `Cannot index the layer: ${state}`));
  }
}
