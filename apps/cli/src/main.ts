import { setFlagsFromString } from "node:v8";
import { AppError } from "@soci-ts/core/errors";
import { run } from "./run.ts";

// How often code has to run before the engine optimises it: some five times as often as it would by itself. Commands are short, and an image's
// layers are indexed on as many threads as there are processors, each of which has all of its code optimised for itself.
setFlagsFromString("--interrupt-budget=600000");

const INTERRUPTED_EXIT_CODE = 130;
const BROKEN_PIPE_EXIT_CODE = 141;

const abort = new AbortController();

/** The first signal lets the command stop cleanly; the second does not wait. The store stands both. */
function interrupt(): void {
  if (abort.signal.aborted) process.exit(INTERRUPTED_EXIT_CODE);
  abort.abort(new AppError("cancelled", "Interrupted"));
}

process.on("SIGINT", interrupt);
process.on("SIGTERM", interrupt);
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  // Whoever read our output has gone (`soci ztoc cat … | head`): nothing is left to do.
  if (error.code === "EPIPE") process.exit(BROKEN_PIPE_EXIT_CODE);
  throw error;
});

process.exitCode = await run(process.argv.slice(2), abort.signal);
