import { AppError } from "@soci-ts/core";
import { processSurroundings } from "./config.ts";
import { run } from "./run.ts";

const INTERRUPTED_EXIT_CODE = 130;
const BROKEN_PIPE_EXIT_CODE = 141;

const abort = new AbortController();

/** The first signal lets the daemon or the command stop cleanly; the second does not wait. What is on disk stands both. */
function interrupt(): void {
  if (abort.signal.aborted) process.exit(INTERRUPTED_EXIT_CODE);
  abort.abort(new AppError("cancelled", "Interrupted"));
}

process.on("SIGINT", interrupt);
process.on("SIGTERM", interrupt);
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  // Whoever read our output has gone (`soci-snapshotter status | head`): nothing is left to do.
  if (error.code === "EPIPE") process.exit(BROKEN_PIPE_EXIT_CODE);
  throw error;
});

process.exitCode = await run(process.argv.slice(2), processSurroundings(), abort.signal);
