import { randomUUID } from "node:crypto";
import { mkdir, rm } from "node:fs/promises";
import { join } from "node:path";
import {
  AppError,
  abortable,
  type Deferred,
  deferred,
  type Logger,
  type Metrics,
} from "@soci-ts/core";
import { parseReference } from "@soci-ts/oci";
import type { LayerOutcome, LayerRequest } from "../contract/types.ts";
import type { LayerReport } from "./image-job.ts";
import type { ImageWorkerProcess } from "./image-worker-process.ts";
import type { WorkerPermits } from "./worker-permits.ts";

/** Gives a reported layer its number. `below`: what became of the layers under it. */
export type TakeReport = (
  report: LayerReport,
  below: readonly LayerOutcome[],
) => Promise<LayerOutcome>;

/** Where a job gets its worker. */
export interface ImageWorkers {
  take(): ImageWorkerProcess;
  /** Takes it back; `residentBytes` is its memory, or infinite if it did not end its job well. */
  giveBack(worker: ImageWorkerProcess, residentBytes: number): Promise<void>;
}

/** What a job needs. */
export interface RunningJobOptions {
  readonly incoming: string;
  readonly take: TakeReport;
  readonly abandonedMs: number;
  readonly logger: Logger;
  /** Of what workers count. */
  readonly metrics: Metrics;
}

/** One image that is being made ready, or was: what its worker says, and who waits for it. */
export class RunningJob {
  readonly #request: LayerRequest;
  readonly #options: RunningJobOptions;
  readonly #directory: string;
  readonly #layers = new Map<string, Deferred<LayerOutcome>>();
  readonly #outcomes: LayerOutcome[] = [];
  readonly #abandon = new AbortController();
  #failure: AppError | undefined;
  #hasFailed = false;
  #waiters = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(request: LayerRequest, options: RunningJobOptions) {
    this.#request = request;
    this.#options = options;
    this.#directory = join(options.incoming, randomUUID());
  }

  get isRunning(): boolean {
    return this.#failure === undefined;
  }

  /** True if it was ended because nobody waited: what it says of its layers then means nothing. */
  get isAbandoned(): boolean {
    return this.#abandon.signal.aborted;
  }

  /** True if the image, or a layer of it, came to nothing. */
  get hasFailed(): boolean {
    return this.#hasFailed || this.#outcomes.some((outcome) => outcome?.kind === "pull");
  }

  /** What becomes of a layer. @throws AppError if the image came to nothing; the signal's reason. */
  async outcome({ chainId }: LayerRequest, signal?: AbortSignal): Promise<LayerOutcome> {
    clearTimeout(this.#timer);
    this.#waiters += 1;
    try {
      return await abortable(this.#waiting(chainId).promise, signal);
    } finally {
      this.#waiters -= 1;
      if (this.#waiters === 0 && this.isRunning) this.#beginAbandoning();
    }
  }

  /** Works to the end, whatever it is, in one of the workers, when there is a permit. Never rejects. */
  async run(permits: WorkerPermits, workers: ImageWorkers, closing: AbortSignal): Promise<void> {
    const signal = AbortSignal.any([closing, this.#abandon.signal]);
    try {
      const { imageReference } = this.#request;
      const { registry } = parseReference(imageReference);
      await permits.run(registry, () => this.#workTwice(workers, signal), signal);
      this.#end(new AppError("not_found", `Cannot find the layer in image ${imageReference}`));
    } catch (error) {
      this.#hasFailed = true;
      this.#end(AppError.from(signal.aborted ? signal.reason : error));
    }
  }

  /** Whoever kills a worker has its image begun once more; an image whose worker ends twice may be what ends it. */
  async #workTwice(workers: ImageWorkers, signal: AbortSignal): Promise<void> {
    if (await this.#work(workers, signal)) return;
    signal.throwIfAborted();
    const { imageReference: image } = this.#request;
    this.#options.logger.warn("image worker ended, its image is begun once more", { image });
    if (!(await this.#work(workers, signal))) throw this.#workerError("ended");
  }

  /** False if the worker ended before it had said all. */
  async #work(workers: ImageWorkers, signal: AbortSignal): Promise<boolean> {
    const worker = workers.take();
    const kill = (): void => worker.kill();
    signal.addEventListener("abort", kill, { once: true });
    let residentBytes: number | undefined;
    try {
      await mkdir(this.#directory, { recursive: true, mode: 0o700 });
      const { imageReference, manifestDigest } = this.#request;
      worker.begin({ imageReference, manifestDigest, directory: this.#directory });
      if (!worker.hasStarted) throw this.#workerError("could not be started");
      residentBytes = await this.#follow(worker);
      return residentBytes !== undefined;
    } finally {
      signal.removeEventListener("abort", kill);
      // One that goes on working could write while its directory is deleted.
      if (residentBytes === undefined) await worker.end();
      await this.#removeFiles();
      await workers.giveBack(worker, residentBytes ?? Number.POSITIVE_INFINITY);
    }
  }

  async #removeFiles(): Promise<void> {
    try {
      await rm(this.#directory, { recursive: true, force: true });
    } catch (error) {
      const { message } = AppError.from(error);
      this.#options.logger.warn("files of an image job not removed", { error: message });
    }
  }

  /** Takes what the worker reports until it has said all; its memory then, `undefined` if it ended before. */
  async #follow(worker: ImageWorkerProcess): Promise<number | undefined> {
    const { metrics } = this.#options;
    for (;;) {
      const message = await worker.next();
      if (message === "ended") return undefined;
      if (message?.kind === "end") return message.residentBytes;
      if (message?.kind === "failed") throw new AppError(message.code, message.message);
      if (message?.kind === "counts") {
        for (const [name, count] of Object.entries(message.counts)) metrics.count(name, count);
        continue;
      }
      if (message?.kind !== "layer") throw this.#workerError("wrote what no worker writes");
      const { report } = message;
      if (this.#outcomes[report.position] !== undefined) continue; // a worker that ended has said so, too
      const outcome = await this.#options.take(report, this.#outcomes);
      this.#outcomes[report.position] = outcome;
      this.#waiting(report.chainId).resolve(outcome);
    }
  }

  #workerError(state: string): AppError {
    const { imageReference } = this.#request;
    return new AppError(
      "internal",
      `Cannot make image ${imageReference} ready: its worker ${state}`,
    );
  }

  #waiting(chainId: string): Deferred<LayerOutcome> {
    const known = this.#layers.get(chainId);
    if (known !== undefined) return known;
    const waiting = deferred<LayerOutcome>();
    waiting.promise.catch(() => {}); // there may be nobody who waits
    this.#layers.set(chainId, waiting);
    if (this.#failure !== undefined) waiting.reject(this.#failure);
    return waiting;
  }

  #beginAbandoning(): void {
    const reason = new AppError("cancelled", "Nobody waits for the image any more");
    const abandon = (): void => this.#abandon.abort(reason);
    this.#timer = setTimeout(abandon, this.#options.abandonedMs).unref();
  }

  /** What was not told of by now never will be. */
  #end(error: AppError): void {
    this.#failure = error;
    clearTimeout(this.#timer);
    for (const { reject } of this.#layers.values()) reject(error);
  }
}
