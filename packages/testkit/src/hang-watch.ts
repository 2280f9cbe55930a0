import { once } from "node:events";
import { Worker } from "node:worker_threads";

/** What the watching thread is given. */
export interface HangWatchTask {
  /** Two words, the number of the current input and its length, and then its bytes, as many as there is room for. */
  readonly shared: SharedArrayBuffer;
  /** An input may take so long. */
  readonly mostMs: number;
  /** Where the input is written that took longer. */
  readonly path: string;
}

/** What to watch. */
export interface HangWatchOptions extends Omit<HangWatchTask, "shared"> {
  /** An input that is longer is kept without what is behind. */
  readonly maxBytes: number;
}

/** Bytes before the input's. */
export const HANG_WATCH_HEAD_BYTES = 8;

/**
 * Sees from another thread to it that a reader in this thread gets on, which it can't itself when it never returns: then the input is kept as a file,
 * and the process killed. The caller closes it.
 */
export class HangWatch {
  readonly #bytes: Uint8Array;
  readonly #words: Int32Array;
  readonly #worker: Worker;

  private constructor(shared: SharedArrayBuffer, worker: Worker) {
    this.#words = new Int32Array(shared, 0, 2);
    this.#bytes = new Uint8Array(shared, HANG_WATCH_HEAD_BYTES);
    this.#worker = worker;
    worker.unref();
  }

  /** Starts the other thread, and waits until it watches: a thread that hangs at once would not let it start. */
  static async start(options: HangWatchOptions): Promise<HangWatch> {
    const { path, mostMs, maxBytes } = options;
    const shared = new SharedArrayBuffer(HANG_WATCH_HEAD_BYTES + Math.ceil(maxBytes / 4) * 4);
    const workerData: HangWatchTask = { shared, path, mostMs };
    const program = new URL("./hang-watch-worker.js", import.meta.url);
    const worker = new Worker(program, { workerData, execArgv: [] });
    await once(worker, "message");
    return new HangWatch(shared, worker);
  }

  /** Says that the reader is now at this input. */
  enter(bytes: Uint8Array): void {
    this.#bytes.set(bytes.subarray(0, this.#bytes.length));
    Atomics.store(this.#words, 1, Math.min(bytes.length, this.#bytes.length));
    Atomics.add(this.#words, 0, 1);
  }

  async close(): Promise<void> {
    await this.#worker.terminate();
  }
}
