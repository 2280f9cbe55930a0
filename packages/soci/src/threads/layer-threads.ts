import { MessageChannel, type MessagePort, Worker } from "node:worker_threads";
import { AppError, type IoOptions, Semaphore } from "@soci-ts/core";
import { ByteRing } from "./byte-ring.ts";
import type { HashThreadData } from "./hash-thread.ts";
import type { IndexThreadData, IndexThreadMessage } from "./index-thread.ts";
import type { ScannedLayer, ScanTask } from "./scan-layer.ts";

/** Between the main thread and the one that inflates: what a registry sends while that is busy with one piece. */
const BLOB_RING_BYTES = 1_048_576;
/** Between the one that inflates and the one that hashes: a few of the pieces that inflating gives. */
const FRAME_RING_BYTES = 1_048_576;
/** Their garbage is small and short-lived; with the default they would let tens of megabytes of it pile up. */
const INDEX_YOUNG_GENERATION_MIB = 2;
const HASH_YOUNG_GENERATION_MIB = 1;

/** What to do with the bytes of one layer. */
export interface ThreadScanOptions extends IoOptions {
  /** Told how many bytes of the blob have been worked through. */
  readonly onBytes?: ((compressedBytes: number) => void) | undefined;
  /** Told that reading the stream, rather than what was read, failed. */
  readonly onInputFailure?: (() => void) | undefined;
}

/**
 * Threads that make ztocs: one for each layer that is worked on at a time, and one more that hashes for it where the layer is to be split. The
 * calling thread only copies what comes in into their memory. Threads start when they are needed and serve one layer after
 * the other; closing ends them at once, whatever they do.
 */
export class LayerThreads implements AsyncDisposable {
  readonly #permits: Semaphore;
  readonly #idle: ThreadPair[] = [];
  readonly #all = new Set<ThreadPair>();

  /** @param jobs - most layers at a time. */
  constructor(jobs: number) {
    this.#permits = new Semaphore(jobs);
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
    const pair = this.#idle.pop() ?? new ThreadPair();
    this.#all.add(pair);
    try {
      const layer = await pair.scan(task, stream, options);
      if (pair.isIdle) this.#idle.push(pair);
      return layer;
    } catch (error) {
      if (pair.isIdle) this.#idle.push(pair);
      else await this.#end(pair);
      throw error;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.#all].map((pair) => this.#end(pair)));
  }

  async #end(pair: ThreadPair): Promise<void> {
    this.#all.delete(pair);
    await pair.end();
  }
}

/** A layer that is being worked on. */
interface Scan {
  resolve(layer: ScannedLayer): void;
  reject(error: unknown): void;
  readonly onBytes: ThreadScanOptions["onBytes"];
}

class ThreadPair {
  readonly #blob = ByteRing.create(BLOB_RING_BYTES);
  readonly #index: Worker;
  /** Started with the first layer that is split. */
  #hash: Worker | undefined;
  readonly #hashData: HashThreadData;
  #current: Scan | undefined;
  /** Resolves the wait for room in the ring. */
  #moved: (() => void) | undefined;
  /** True while it can take a layer: no half-read one is in the ring. */
  isIdle = true;

  constructor() {
    const frames = ByteRing.create(FRAME_RING_BYTES).memory;
    const { port1, port2 } = new MessageChannel();
    this.#hashData = { frames, answers: port2 };
    const data: IndexThreadData = { blob: this.#blob.memory, frames, digests: port1 };
    this.#index = startThread("index-thread", INDEX_YOUNG_GENERATION_MIB, data, port1);
    this.#index.on("message", (message: IndexThreadMessage) => this.#hear(message));
    this.#watch(this.#index);
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
    if (task.isSplit && this.#hash === undefined) {
      const { answers } = this.#hashData;
      this.#hash = startThread("hash-thread", HASH_YOUNG_GENERATION_MIB, this.#hashData, answers);
      this.#watch(this.#hash);
    }
    this.#index.ref();
    let onAbort: (() => void) | undefined;
    const answer = new Promise<ScannedLayer>((resolve, reject) => {
      this.#current = { resolve, reject, onBytes };
      onAbort = () => reject(signal?.reason);
      signal?.addEventListener("abort", onAbort, { once: true });
      this.#index.postMessage(task);
    });
    try {
      const [layer] = await Promise.all([answer, this.#feed(stream, options)]);
      return layer;
    } finally {
      if (onAbort !== undefined) signal?.removeEventListener("abort", onAbort);
      this.#index.unref();
      this.#current = undefined;
      this.#moved?.();
    }
  }

  async end(): Promise<void> {
    this.isIdle = false;
    this.#lost("its thread was ended");
    await Promise.all([this.#index.terminate(), this.#hash?.terminate()]);
    this.#hashData.answers.close();
  }

  #watch(thread: Worker): void {
    thread.on("error", (error) => this.#lost(error.message));
    thread.on("exit", () => this.#lost("its thread ended"));
    // Only a layer that is worked on keeps the process alive.
    thread.unref();
  }

  /** Copies the stream into the ring, waiting where that is full; stops when the layer is done with. */
  async #feed(stream: AsyncIterable<Uint8Array>, options: ThreadScanOptions): Promise<void> {
    const scan = this.#current;
    const isOver = (): boolean => this.#current !== scan;
    try {
      for await (const bytes of stream) {
        for (let at = 0; at < bytes.length; ) {
          if (isOver()) return;
          const count = this.#blob.offer(bytes.subarray(at));
          at += count;
          if (count === 0) await this.#movement();
        }
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

function startThread(
  name: string,
  maxYoungGenerationSizeMb: number,
  workerData: IndexThreadData | HashThreadData,
  port: MessagePort,
): Worker {
  return new Worker(new URL(`./${name}.js`, import.meta.url), {
    name,
    workerData,
    transferList: [port],
    resourceLimits: { maxYoungGenerationSizeMb },
  });
}
