import { Worker } from "node:worker_threads";
import { AppError, SingleFlight } from "@soci-ts/core";
import type { TreeAnswer, TreeTask } from "./tree-worker.ts";
import type { Usage } from "./types.ts";

interface Waiting {
  resolve(answer: TreeAnswer): void;
  reject(error: Error): void;
}

/** A thread that does one task after the other; started when first needed, and again if it died. */
class TreeThread {
  #worker: Worker | undefined;
  readonly #waiting = new Map<number, Waiting>();
  #lastId = 0;

  async do(what: TreeTask["what"], path: string): Promise<TreeAnswer> {
    const worker = this.#start();
    this.#lastId += 1;
    const task: TreeTask = { id: this.#lastId, what, path };
    const answer = await new Promise<TreeAnswer>((resolve, reject) => {
      this.#waiting.set(task.id, { resolve, reject });
      worker.ref();
      worker.postMessage(task);
    });
    const { error } = answer;
    if (error === undefined) return answer;
    const details = error.code === undefined ? {} : { errno: error.code };
    throw new AppError("internal", `Cannot ${VERBS[what]} "${path}": ${error.message}`, {
      details,
    });
  }

  async end(): Promise<void> {
    const worker = this.#worker;
    this.#lost("Cannot look into a tree: its thread was ended");
    await worker?.terminate();
  }

  #start(): Worker {
    if (this.#worker !== undefined) return this.#worker;
    const worker = new Worker(new URL("./tree-worker.js", import.meta.url));
    this.#worker = worker;
    const ifCurrent = (work: () => void): void => {
      if (this.#worker === worker) work();
    };
    worker.on("message", (answer: TreeAnswer) => ifCurrent(() => this.#take(answer, worker)));
    worker.once("error", ({ message }) =>
      ifCurrent(() => this.#lost(`Cannot look into a tree: ${message}`)),
    );
    worker.once("exit", () => ifCurrent(() => this.#lost("Cannot look into a tree: no thread")));
    return worker;
  }

  #take(answer: TreeAnswer, worker: Worker): void {
    this.#waiting.get(answer.id)?.resolve(answer);
    this.#waiting.delete(answer.id);
    // An idle thread keeps no process alive.
    if (this.#waiting.size === 0) worker.unref();
  }

  #lost(reason: string): void {
    this.#worker = undefined;
    for (const { reject } of this.#waiting.values()) reject(new AppError("internal", reason));
    this.#waiting.clear();
  }
}

const VERBS = { usage: "measure", remove: "delete" } as const;

/** Walks through directory trees off the main thread: one thread measures, one deletes, so that neither waits for the other. */
export class TreeWorkers implements AsyncDisposable {
  readonly #measuring = new TreeThread();
  readonly #deleting = new TreeThread();
  readonly #walks = new SingleFlight<Usage>();

  /**
   * Disk space below a directory; callers that ask while it is being measured share the walk.
   * @throws AppError `internal` if something in it can't be looked at; what the signal says.
   */
  async usage(path: string, signal?: AbortSignal): Promise<Usage> {
    return await this.#walks.do(path, () => this.usageFromNow(path), signal);
  }

  /** Like {@link TreeWorkers.usage} in a walk of its own, which sees all that was written before the call. */
  async usageFromNow(path: string): Promise<Usage> {
    const { usage } = await this.#measuring.do("usage", path);
    return usage ?? { sizeBytes: 0, inodes: 0 };
  }

  /** Deletes a directory tree; absent is fine. */
  async remove(path: string): Promise<void> {
    await this.#deleting.do("remove", path);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#measuring.end();
    await this.#deleting.end();
  }
}
