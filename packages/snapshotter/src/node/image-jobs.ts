import { AppError, type IoOptions, type Logger, type Metrics } from "@soci-ts/core";
import type { LayerOutcome, LayerRequest } from "../contract/types.ts";
import type { ServerCommand } from "../server-process.ts";
import { ImageWorkerProcess } from "./image-worker-process.ts";
import { RunningJob, type TakeReport } from "./running-job.ts";
import { WorkerPermits } from "./worker-permits.ts";

/** What image jobs need. */
export interface ImageJobsOptions {
  /** Starts an image worker (`runImageWorker`). */
  readonly worker: ServerCommand;
  /** Jobs leave their files in directories below it. */
  readonly incoming: string;
  readonly take: TakeReport;
  /** What failed is not tried again for this long: an image, or a layer of one. For longer, if it took long to fail. */
  readonly failureMemoryMs: number;
  /** A worker whose image nobody has asked for in this time is ended. Default 15,000. */
  readonly abandonedMs?: number | undefined;
  readonly logger: Logger;
  /** Of what workers count. */
  readonly metrics: Metrics;
}

/** containerd asks for one layer after the other: what is known of the others is kept this long. */
const RESULT_MEMORY_MS = 60_000;

/** Of a worker that waits. */
const SPARE_NICENESS = 10;

/** Workers that are kept for the next images: a new one takes more than a second of processor time to get ready. */
const MAX_SPARES = 2;

/**
 * A failure is remembered for this many times as long as it took, so that a pull of many layers spends no more than a quarter of its time on waiting
 * for a registry that does not answer us.
 */
const FAILURE_MEMORY_FACTOR = 3;

const DEFAULT_ABANDONED_MS = 15_000;

/**
 * The images that are being made ready, each in a process that has no other at the time: what is slow or wrong with one image holds no other up. All layers of
 * an image are worked on when the first is asked for. Life of a job: *running* → *done* (its outcomes are kept for a minute; for seconds, if a layer
 * was left to containerd), *failed* (its failure is kept for seconds) or *abandoned* (nobody waits any more: it is ended and nothing is kept).
 */
export class ImageJobs implements AsyncDisposable {
  readonly #options: ImageJobsOptions;
  readonly #jobs = new Map<string, RunningJob>();
  readonly #running = new Set<Promise<void>>();
  readonly #permits = new WorkerPermits();
  readonly #closing = new AbortController();
  /** One is started ahead, because starting takes longer than asking a registry. */
  readonly #spares: ImageWorkerProcess[] = [];

  constructor(options: ImageJobsOptions) {
    this.#options = options;
    this.#startSpare();
  }

  /** Jobs that run now. */
  get running(): number {
    return this.#running.size;
  }

  /**
   * What becomes of a layer.
   * @throws AppError if nothing can be said of the whole image; the signal's reason.
   */
  async outcome(request: LayerRequest, { signal }: IoOptions = {}): Promise<LayerOutcome> {
    signal?.throwIfAborted();
    this.#closing.signal.throwIfAborted();
    const job = this.#jobs.get(keyOf(request));
    const usable = job?.isAbandoned === false ? job : this.#begin(request);
    return await usable.outcome(request, signal);
  }

  /** Forgets what became of an image, if nothing runs for it, so that the next request looks anew. */
  forget(request: Pick<LayerRequest, "imageReference" | "manifestDigest">): void {
    const key = keyOf(request);
    if (this.#jobs.get(key)?.isRunning === false) this.#jobs.delete(key);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort(new AppError("cancelled", "Cannot make an image ready: the daemon ends"));
    await Promise.all(this.#running);
    for (const spare of this.#spares.splice(0)) await spare.end();
  }

  #begin(request: LayerRequest): RunningJob {
    const { abandonedMs = DEFAULT_ABANDONED_MS } = this.#options;
    const key = keyOf(request);
    const job = new RunningJob(request, { ...this.#options, abandonedMs });
    this.#jobs.set(key, job);
    const run = this.#run(key, job);
    this.#running.add(run);
    void run.then(() => this.#running.delete(run));
    return job;
  }

  async #run(key: string, job: RunningJob): Promise<void> {
    const { signal } = this.#closing;
    const startedMs = performance.now();
    const workers = { take: () => this.#takeWorker(), giveBack: this.#giveBack };
    await job.run(this.#permits, workers, signal);
    const tookMs = performance.now() - startedMs;
    const forget = (): void => {
      if (this.#jobs.get(key) === job) this.#jobs.delete(key);
    };
    if (job.isAbandoned) forget();
    else setTimeout(forget, this.#memoryMs(job, tookMs)).unref();
    if (!signal.aborted && this.#spares.length === 0) this.#startSpare();
  }

  #memoryMs(job: RunningJob, tookMs: number): number {
    if (!job.hasFailed) return RESULT_MEMORY_MS;
    const memoryMs = Math.max(this.#options.failureMemoryMs, tookMs * FAILURE_MEMORY_FACTOR);
    return Math.min(memoryMs, RESULT_MEMORY_MS);
  }

  #takeWorker(): ImageWorkerProcess {
    let spare = this.#spares.pop();
    while (spare !== undefined && !spare.isAlive) spare = this.#spares.pop();
    spare?.setNiceness(0);
    return spare ?? this.#start();
  }

  /** An arrow function, because it is handed on. */
  readonly #giveBack = async (worker: ImageWorkerProcess, residentBytes: number): Promise<void> => {
    const hasRoom = this.#spares.length < MAX_SPARES && !this.#closing.signal.aborted;
    if (!hasRoom || !worker.isFitFor(residentBytes)) return await worker.end();
    worker.setNiceness(SPARE_NICENESS);
    this.#spares.push(worker);
  };

  /** It takes a second of processor time to get ready, while a container may just be starting: not at the container's cost. */
  #startSpare(): void {
    const worker = this.#start();
    worker.setNiceness(SPARE_NICENESS);
    this.#spares.push(worker);
  }

  #start(): ImageWorkerProcess {
    return new ImageWorkerProcess(this.#options.worker);
  }
}

function keyOf(request: Pick<LayerRequest, "imageReference" | "manifestDigest">): string {
  return `${request.imageReference} ${request.manifestDigest}`;
}
