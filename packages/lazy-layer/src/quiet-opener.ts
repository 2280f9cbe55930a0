import { Worker } from "node:worker_threads";
import { inflateInput, type SpanSource, spanOf } from "./open-span.ts";
import type { OpenedSpan, QuietAnswer, QuietTask } from "./quiet-opener-worker.ts";

/** The thread ends when there was nothing to do for this long. */
const IDLE_MS = 5000;

/** It makes little garbage but spans, which lie outside the heap. */
const YOUNG_GENERATION_MIB = 1;

interface Running {
  readonly worker: Worker;
  readonly pending: Map<number, (opened: OpenedSpan | undefined) => void>;
  timer: NodeJS.Timeout | undefined;
}

let running: Running | undefined;
let lastId = 0;

/**
 * Verifies and inflates a span in a thread that runs only where nobody else wants the processor, however long that takes: for what nobody waits for. All layers
 * of the process share it.
 * @returns `undefined` if it could not be done there: the span is wrong, perhaps, or is of more than one gzip member.
 */
export async function openQuietly(
  source: SpanSource,
  at: number,
  compressed: Uint8Array,
): Promise<OpenedSpan | undefined> {
  const { digest, uncompressedStart, uncompressedEnd } = spanOf(source, at);
  const { worker, pending } = start();
  lastId += 1;
  const task: QuietTask = {
    id: lastId,
    compressed,
    digest,
    ...inflateInput(source, at),
    uncompressedStart,
    headers: source.headers?.within(uncompressedStart, uncompressedEnd).encode(),
  };
  return await new Promise((resolve) => {
    pending.set(task.id, resolve);
    worker.postMessage(task);
  });
}

function start(): Running {
  clearTimeout(running?.timer);
  running ??= begin();
  return running;
}

function begin(): Running {
  const worker = new Worker(new URL("./quiet-opener-worker.js", import.meta.url), {
    resourceLimits: { maxYoungGenerationSizeMb: YOUNG_GENERATION_MIB },
  });
  // It has nothing that must be finished: no process waits for it.
  worker.unref();
  const begun: Running = { worker, pending: new Map(), timer: undefined };
  worker.on("message", ({ id, opened }: QuietAnswer) => {
    begun.pending.get(id)?.(opened);
    begun.pending.delete(id);
    if (begun.pending.size === 0) begun.timer = setTimeout(() => end(begun), IDLE_MS).unref();
  });
  worker.on("error", () => end(begun));
  worker.on("exit", () => end(begun));
  return begun;
}

function end(ending: Running): void {
  if (running === ending) running = undefined;
  for (const resolve of ending.pending.values()) resolve(undefined);
  ending.pending.clear();
  void ending.worker.terminate();
}
