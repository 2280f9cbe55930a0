import { Worker } from "node:worker_threads";
import { AppError, abortable, type IoOptions } from "@soci-ts/core";
import type { HashAnswer, HashTask } from "./hash-whole-worker.ts";

/**
 * Hashes a whole layer's file in a thread of its own, slowly and at the lowest priority; every byte is checked against its chunk's checksum
 * as it is read.
 * @throws what reading the file throws; the signal's reason.
 */
export async function hashWhole(task: HashTask, { signal }: IoOptions = {}): Promise<HashAnswer> {
  signal?.throwIfAborted();
  const worker = new Worker(new URL("./hash-whole-worker.js", import.meta.url), {
    workerData: task,
  });
  // It has nothing that must be finished: no process waits for it.
  worker.unref();
  try {
    const answer = new Promise<HashAnswer>((resolve, reject) => {
      worker.once("message", resolve);
      worker.once("error", reject);
      worker.once("exit", () =>
        reject(new AppError("internal", "Cannot hash the layer: its thread ended")),
      );
    });
    return await abortable(answer, signal);
  } finally {
    await worker.terminate();
  }
}
