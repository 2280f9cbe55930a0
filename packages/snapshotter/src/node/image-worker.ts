import { createInterface } from "node:readline";
import { AppError, type Logger } from "@soci-ts/core";
import type { OverlayXattrs } from "@soci-ts/layer-index";
import type { RepositoryName } from "@soci-ts/oci";
import type { RegistryClient } from "@soci-ts/registry-client";
import type { TrustPolicy } from "@soci-ts/soci";
import type { ImageJob, WorkerMessage } from "./image-job.ts";
import { reportLayers } from "./report-layers.ts";
import { warmUp } from "./warm-up.ts";

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
}

/**
 * The process that makes one image's layers ready: finds the index, reads ztocs, makes metadata images, and reads whole what has no
 * index. It takes one {@link ImageJob} from standard input, writes {@link WorkerMessage}s to standard output, and ends; also when its input
 * ends, because then nobody wants the image any more. What an image does to it, it does to no other image.
 */
export async function runImageWorker(options: ImageWorkerOptions): Promise<void> {
  const abort = new AbortController();
  const hasJob = new AbortController();
  void warmUp(hasJob.signal).catch((error: unknown) => {
    options.logger.warn("worker not warmed up", { error: AppError.from(error).message });
  });
  const input = createInterface({ input: process.stdin });
  const job = await new Promise<ImageJob | undefined>((resolve) => {
    input.once("line", (line) => resolve(JSON.parse(line) as ImageJob));
    input.once("close", () => {
      resolve(undefined);
      abort.abort(new AppError("cancelled", "Nobody waits for the image any more"));
    });
  });
  hasJob.abort();
  if (job === undefined) return;
  try {
    for await (const report of reportLayers(job, { ...options, signal: abort.signal })) {
      say({ kind: "layer", report });
    }
    say({ kind: "end" });
  } catch (error) {
    const { code, message } = AppError.from(error);
    options.logger.warn("image not made ready", { image: job.imageReference, error: message });
    say({ kind: "failed", code, message });
  }
  input.close();
  process.stdin.destroy();
}

function say(message: WorkerMessage): void {
  process.stdout.write(`${JSON.stringify(message)}\n`);
}
