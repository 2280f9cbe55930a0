import { createInterface } from "node:readline";
import { AppError, type Logger } from "@soci-ts/core";
import type { OverlayXattrs } from "@soci-ts/layer-index";
import type { RepositoryName } from "@soci-ts/oci";
import type { RegistryClient } from "@soci-ts/registry-client";
import type { TrustPolicy } from "@soci-ts/soci";
import { CountingMetrics } from "./counting-metrics.ts";
import type { ImageJob, WorkerMessage } from "./image-job.ts";
import { reportLayers } from "./report-layers.ts";
import { warmUp } from "./warm-up.ts";

export { CountingMetrics };

/** What an image worker needs from its app. */
export interface ImageWorkerOptions {
  /** The daemon's root. */
  readonly root: string;
  readonly client: RegistryClient;
  /** Which indexes of a repository's images are believed. */
  readonly policyOf: (repository: RepositoryName) => TrustPolicy;
  readonly overlayXattrs: OverlayXattrs;
  /** Layers of the image that are read whole at a time. */
  readonly wholeAtOnce: number;
  /** Finding an index is given up after this long. */
  readonly lookupTimeoutMs: number;
  readonly logger: Logger;
  /** Counts what this process does, for the daemon; `client` counts there too. */
  readonly metrics: CountingMetrics;
}

/**
 * The process that makes images' layers ready: finds the index, reads ztocs, makes metadata images, and reads whole what has no
 * index. It takes one {@link ImageJob} after the other from standard input, writes {@link WorkerMessage}s to standard output, and ends with an image that
 * failed; also when its input ends, because then nobody wants the image any more.
 */
export async function runImageWorker(options: ImageWorkerOptions): Promise<void> {
  const gone = new AbortController();
  const hasJob = new AbortController();
  void warmUp(hasJob.signal).catch((error: unknown) => {
    options.logger.warn("worker not warmed up", { error: AppError.from(error).message });
  });
  const input = createInterface({ input: process.stdin });
  input.once("close", () => {
    gone.abort(new AppError("cancelled", "Nobody waits for the image any more"));
  });
  for await (const line of input) {
    hasJob.abort();
    const isDone = await doJob(JSON.parse(line) as ImageJob, options, gone.signal);
    if (!isDone) break;
  }
  hasJob.abort();
  input.close();
  process.stdin.destroy();
}

/** False if the image failed. */
async function doJob(
  job: ImageJob,
  options: ImageWorkerOptions,
  signal: AbortSignal,
): Promise<boolean> {
  try {
    for await (const report of reportLayers(job, { ...options, signal })) {
      say({ kind: "layer", report });
    }
    sayCounts(options.metrics);
    say({ kind: "end", residentBytes: process.memoryUsage.rss() });
    return true;
  } catch (error) {
    const { code, message } = AppError.from(error);
    options.logger.warn("image not made ready", { image: job.imageReference, error: message });
    sayCounts(options.metrics);
    say({ kind: "failed", code, message });
    return false;
  }
}

function sayCounts(metrics: CountingMetrics): void {
  say({ kind: "counts", counts: metrics.takeCounts() });
}

function say(message: WorkerMessage): void {
  process.stdout.write(`${JSON.stringify(message)}\n`);
}
