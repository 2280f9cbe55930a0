import { createRequire } from "node:module";
import type * as CliProgress from "cli-progress";
import { formatBytes } from "./output.ts";

/** One piece of work that is under way. */
export interface Task {
  /** Bytes done so far. */
  update(doneBytes: number): void;
  /** Ends the task; `outcome` is a short phrase. */
  finish(outcome: string): void;
}

/** Shows work on stderr: bars on a terminal, else a line when a task ends. */
export interface Progress {
  start(name: string, totalBytes: number): Task;
  /** Ends all bars; called before anything else is written. Idempotent. */
  close(): void;
}

/** Progress on stderr, for a terminal or for a log. */
export function createProgress(drawsBars: boolean): Progress {
  return drawsBars
    ? barProgress(process.stderr)
    : lineProgress((line) => process.stderr.write(`${line}\n`));
}

/** A line for each task that ended; used where nobody watches. */
export function lineProgress(writeLine: (line: string) => void): Progress {
  return {
    start: (name, totalBytes) => ({
      update: () => {},
      finish: (outcome) => writeLine(`${name}  ${formatBytes(totalBytes)}  ${outcome}`),
    }),
    close: () => {},
  };
}

function barProgress(stream: NodeJS.WritableStream): Progress {
  let bars: CliProgress.MultiBar | undefined;
  return {
    start(name, totalBytes) {
      bars ??= new (loadLibrary().MultiBar)({
        format: "{name}  {bar}  {percentage}%  {state}",
        stream,
        hideCursor: true,
        barsize: 16,
        fps: 8,
        // Signals are main.ts's: it aborts the work, and closing the session gives the cursor back.
        gracefulExit: false,
      });
      const size = formatBytes(totalBytes);
      const bar = bars.create(Math.max(totalBytes, 1), 0, { name, state: `0 B of ${size}` });
      return {
        update: (doneBytes) =>
          bar.update(doneBytes, { name, state: `${formatBytes(doneBytes)} of ${size}` }),
        finish: (outcome) => {
          bar.update(bar.getTotal(), { name, state: `${size}  ${outcome}` });
          bar.stop();
        },
      };
    },
    close() {
      bars?.stop();
      bars = undefined;
    },
  };
}

/** Where nobody watches, it is not loaded. */
function loadLibrary(): typeof CliProgress {
  return createRequire(import.meta.url)("cli-progress") as typeof CliProgress;
}
