import { type ChildProcessByStdio, spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { mkdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { Readable, Writable } from "node:stream";
import { AppError, abortable, type IoOptions, type Logger, Semaphore } from "@soci-ts/core";
import type { LayerOutcome, LayerRequest } from "../contract/types.ts";
import type { ServerCommand } from "../server-process.ts";
import type { LayerReport, WorkerMessage } from "./image-job.ts";

/** Gives a reported layer its number. `below`: what became of the layers under it. */
export type TakeReport = (
  report: LayerReport,
  below: readonly LayerOutcome[],
) => Promise<LayerOutcome>;

/** What image jobs need. */
export interface ImageJobsOptions {
  /** Starts an image worker (`runImageWorker`). */
  readonly worker: ServerCommand;
  /** Jobs leave their files in directories below it. */
  readonly incoming: string;
  readonly take: TakeReport;
  /** A job that failed is not tried again for this long. */
  readonly failureMemoryMs: number;
  readonly logger: Logger;
}

/** Images that are made ready at a time; a hung registry's images must leave room for others'. */
const MAX_WORKERS = 16;

/** containerd asks for one layer after the other: what is known of the others is kept this long. */
const RESULT_MEMORY_MS = 60_000;

/** A worker whose image nobody has asked for in this time is ended. */
const ABANDONED_MS = 15_000;

type Worker = ChildProcessByStdio<Writable, Readable, null>;

/**
 * The images that are being made ready, each in a process of its own: what is slow or wrong with one image holds no other up. All layers of
 * an image are worked on when the first is asked for. Life of a job: *running* → *done* (its outcomes are kept for a minute) or
 * *failed* (its failure is kept for seconds).
 */
export class ImageJobs implements AsyncDisposable {
  readonly #options: ImageJobsOptions;
  readonly #jobs = new Map<string, Job>();
  readonly #permits = new Semaphore(MAX_WORKERS);
  /** Started ahead, because starting takes longer than asking a registry. */
  #spare: Worker | undefined;

  constructor(options: ImageJobsOptions) {
    this.#options = options;
    this.#spare = this.#start();
  }

  /** Jobs that run now. */
  get running(): number {
    return [...this.#jobs.values()].filter((job) => job.isRunning).length;
  }

  /**
   * What becomes of a layer.
   * @throws AppError if nothing can be said of the whole image; the signal's reason.
   */
  async outcome(request: LayerRequest, { signal }: IoOptions = {}): Promise<LayerOutcome> {
    const key = `${request.imageReference} ${request.manifestDigest}`;
    const job = this.#jobs.get(key) ?? this.#begin(key, request);
    return await job.outcome(request, signal);
  }

  /** Forgets what is known of images, so that the next request looks anew. */
  forget(): void {
    for (const [key, job] of this.#jobs) if (!job.isRunning) this.#jobs.delete(key);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#spare?.kill("SIGKILL");
    this.#spare = undefined;
    await Promise.all([...this.#jobs.values()].map((job) => job.stop()));
  }

  #begin(key: string, request: LayerRequest): Job {
    const job = new Job(request, this.#options);
    this.#jobs.set(key, job);
    const worker = this.#spare ?? this.#start();
    this.#spare = undefined;
    void this.#permits
      .run(() => job.run(worker))
      .then((keptMs) => {
        this.#spare ??= this.#start();
        setTimeout(() => {
          if (this.#jobs.get(key) === job) this.#jobs.delete(key);
        }, keptMs).unref();
      });
    return job;
  }

  #start(): Worker {
    const { argv, environment } = this.#options.worker;
    const [program, ...args] = argv;
    const worker = spawn(program, args, {
      cwd: "/",
      env: { ...environment },
      stdio: ["pipe", "pipe", "inherit"],
    });
    worker.on("error", () => {}); // its output ends, and that is reported
    worker.stdin.on("error", () => {});
    worker.unref();
    return worker;
  }
}

interface Waiting {
  readonly promise: Promise<LayerOutcome>;
  readonly resolve: (outcome: LayerOutcome) => void;
  readonly reject: (error: unknown) => void;
}

class Job {
  readonly #request: LayerRequest;
  readonly #options: ImageJobsOptions;
  readonly #directory: string;
  readonly #layers = new Map<string, Waiting>();
  readonly #outcomes: LayerOutcome[] = [];
  #worker: Worker | undefined;
  #failure: AppError | undefined;
  #isDone = false;
  #waiters = 0;
  #abandoned: NodeJS.Timeout | undefined;

  constructor(request: LayerRequest, options: ImageJobsOptions) {
    this.#request = request;
    this.#options = options;
    this.#directory = join(options.incoming, randomUUID());
  }

  get isRunning(): boolean {
    return !this.#isDone;
  }

  async outcome({ chainId }: LayerRequest, signal?: AbortSignal): Promise<LayerOutcome> {
    clearTimeout(this.#abandoned);
    this.#waiters += 1;
    try {
      return await abortable(this.#waiting(chainId).promise, signal);
    } finally {
      this.#waiters -= 1;
      if (this.#waiters === 0 && this.isRunning) {
        this.#abandoned = setTimeout(() => this.#worker?.kill("SIGKILL"), ABANDONED_MS).unref();
      }
    }
  }

  /** Works to the end, whatever it is. @returns how long the outcome counts. */
  async run(worker: Worker): Promise<number> {
    this.#worker = worker;
    try {
      await mkdir(this.#directory, { recursive: true, mode: 0o700 });
      const { imageReference, manifestDigest } = this.#request;
      const job = { imageReference, manifestDigest, directory: this.#directory };
      worker.stdin.write(`${JSON.stringify(job)}\n`);
      await this.#follow(worker);
      this.#end(new AppError("not_found", `Cannot find the layer in image ${imageReference}`));
      return RESULT_MEMORY_MS;
    } catch (error) {
      this.#failure = AppError.from(error);
      this.#end(this.#failure);
      return this.#options.failureMemoryMs;
    } finally {
      worker.kill("SIGKILL");
      await rm(this.#directory, { recursive: true, force: true });
    }
  }

  async stop(): Promise<void> {
    this.#worker?.kill("SIGKILL");
    await Promise.allSettled([...this.#layers.values()].map(({ promise }) => promise));
  }

  async #follow(worker: Worker): Promise<void> {
    for await (const line of createInterface({ input: worker.stdout })) {
      const message = JSON.parse(line) as WorkerMessage;
      if (message.kind === "end") return;
      if (message.kind === "failed") throw new AppError(message.code, message.message);
      const { report } = message;
      const outcome = await this.#options.take(report, this.#outcomes);
      this.#outcomes[report.position] = outcome;
      this.#waiting(report.chainId).resolve(outcome);
    }
    const { imageReference } = this.#request;
    throw new AppError("internal", `Cannot make image ${imageReference} ready: its worker ended`);
  }

  #waiting(chainId: string): Waiting {
    const known = this.#layers.get(chainId);
    if (known !== undefined) return known;
    let resolve: Waiting["resolve"] = () => {};
    let reject: Waiting["reject"] = () => {};
    const promise = new Promise<LayerOutcome>((onOutcome, onError) => {
      resolve = onOutcome;
      reject = onError;
    });
    promise.catch(() => {}); // there may be nobody who waits
    const waiting = { promise, resolve, reject };
    this.#layers.set(chainId, waiting);
    if (this.#isDone) reject(this.#failure);
    return waiting;
  }

  #end(error: AppError): void {
    this.#isDone = true;
    this.#failure = error;
    clearTimeout(this.#abandoned);
    for (const { reject } of this.#layers.values()) reject(error);
  }
}
