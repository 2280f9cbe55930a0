import type { ChildProcessByStdio } from "node:child_process";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { mkdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { Readable, Writable } from "node:stream";
import { AppError, abortable, type Logger } from "@soci-ts/core";
import { parseReference } from "@soci-ts/oci";
import type { LayerOutcome, LayerRequest } from "../contract/types.ts";
import type { LayerReport, WorkerMessage } from "./image-job.ts";
import type { WorkerPermits } from "./worker-permits.ts";

/** Gives a reported layer its number. `below`: what became of the layers under it. */
export type TakeReport = (
  report: LayerReport,
  below: readonly LayerOutcome[],
) => Promise<LayerOutcome>;

/** An image worker, seen from the daemon. */
export type ImageWorkerProcess = ChildProcessByStdio<Writable, Readable, null>;

/** What a job needs. */
export interface RunningJobOptions {
  readonly incoming: string;
  readonly take: TakeReport;
  readonly abandonedMs: number;
  readonly logger: Logger;
}

interface Waiting {
  readonly promise: Promise<LayerOutcome>;
  readonly resolve: (outcome: LayerOutcome) => void;
  readonly reject: (error: unknown) => void;
}

/** One image that is being made ready, or was: what its worker says, and who waits for it. */
export class RunningJob {
  readonly #request: LayerRequest;
  readonly #options: RunningJobOptions;
  readonly #directory: string;
  readonly #layers = new Map<string, Waiting>();
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

  /** Works to the end, whatever it is: in a worker that `start` gives, when there is a permit. Never rejects. */
  async run(
    permits: WorkerPermits,
    start: () => ImageWorkerProcess,
    closing: AbortSignal,
  ): Promise<void> {
    const signal = AbortSignal.any([closing, this.#abandon.signal]);
    try {
      const { imageReference } = this.#request;
      const { registry } = parseReference(imageReference);
      await permits.run(registry, () => this.#work(start(), signal), signal);
      this.#end(new AppError("not_found", `Cannot find the layer in image ${imageReference}`));
    } catch (error) {
      this.#hasFailed = true;
      this.#end(AppError.from(signal.aborted ? signal.reason : error));
    }
  }

  async #work(worker: ImageWorkerProcess, signal: AbortSignal): Promise<void> {
    // Before anything is waited for: Node throws the output of a process away that ends while nobody reads it.
    const lines = createInterface({ input: worker.stdout })[Symbol.asyncIterator]();
    const kill = (): void => void worker.kill("SIGKILL");
    signal.addEventListener("abort", kill, { once: true });
    try {
      await mkdir(this.#directory, { recursive: true, mode: 0o700 });
      const { imageReference, manifestDigest } = this.#request;
      const job = { imageReference, manifestDigest, directory: this.#directory };
      worker.stdin.write(`${JSON.stringify(job)}\n`);
      // The output of a program that could not be started never ends.
      if (worker.pid === undefined) throw this.#workerError("could not be started");
      await this.#follow(lines);
    } finally {
      signal.removeEventListener("abort", kill);
      await this.#cleanUp(worker);
    }
  }

  async #cleanUp(worker: ImageWorkerProcess): Promise<void> {
    // A worker that still lives could write while its directory is deleted.
    await endWorker(worker);
    try {
      await rm(this.#directory, { recursive: true, force: true });
    } catch (error) {
      const { message } = AppError.from(error);
      this.#options.logger.warn("files of an image job not removed", { error: message });
    }
  }

  async #follow(lines: AsyncIterable<string>): Promise<void> {
    for await (const line of lines) {
      const message = parseMessage(line);
      if (message?.kind === "end") return;
      if (message?.kind === "failed") throw new AppError(message.code, message.message);
      if (message?.kind !== "layer") throw this.#workerError("wrote what no worker writes");
      const { report } = message;
      const outcome = await this.#options.take(report, this.#outcomes);
      this.#outcomes[report.position] = outcome;
      this.#waiting(report.chainId).resolve(outcome);
    }
    throw this.#workerError("ended");
  }

  #workerError(state: string): AppError {
    const { imageReference } = this.#request;
    return new AppError(
      "internal",
      `Cannot make image ${imageReference} ready: its worker ${state}`,
    );
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
    if (this.#failure !== undefined) reject(this.#failure);
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

/** Ends a worker and waits until it is gone. */
export async function endWorker(worker: ImageWorkerProcess): Promise<void> {
  const hasStarted = worker.pid !== undefined;
  if (!hasStarted || worker.exitCode !== null || worker.signalCode !== null) return;
  worker.ref();
  const gone = once(worker, "exit");
  worker.kill("SIGKILL");
  await gone;
}

/** `undefined` for what is no message. */
function parseMessage(line: string): WorkerMessage | undefined {
  try {
    return JSON.parse(line) as WorkerMessage;
  } catch {
    return undefined; // the caller says so
  }
}
