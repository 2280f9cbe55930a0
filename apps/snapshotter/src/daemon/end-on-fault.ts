import type { Logger } from "@soci-ts/core";

/**
 * Ends the daemon by SIGKILL when something was thrown that nobody caught: what it was at is unknown, and what is on disk stands it. Not by exit(),
 * which waits for the threads of libuv's pool, and one that is stuck in the kernel is waited for for ever. Whoever started the daemon starts another.
 */
export function endOnFault(logger: Logger): void {
  const end = (error: unknown): void => {
    const text = error instanceof Error ? error.stack : String(error);
    logger.error("daemon failed", { error: text });
    process.kill(process.pid, "SIGKILL");
  };
  process.on("uncaughtException", end);
  process.on("unhandledRejection", end);
}
