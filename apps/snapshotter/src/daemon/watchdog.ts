import { delay, type Logger } from "@soci-ts/core";
import { passPool } from "@soci-ts/snapshotter";
import type { Config } from "../config.ts";
import { notifySystemd } from "./notify-systemd.ts";

/**
 * Tells systemd that this process works, three times in the time that its unit gives it (`WatchdogSec=`); if that was not for this process, nothing
 * happens. Said after a turn of the event loop and a trip through libuv's pool: when either hangs, systemd ends the daemon and starts another.
 */
export function startWatchdog(
  config: Pick<Config, "environment">,
  logger: Logger,
): AsyncDisposable {
  const intervalMs = watchdogIntervalMs(config.environment, process.pid);
  const stopped = new AbortController();
  const watching = intervalMs === undefined ? undefined : watch(intervalMs, stopped.signal);
  return {
    async [Symbol.asyncDispose]() {
      stopped.abort();
      await watching;
    },
  };

  async function watch(everyMs: number, signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await passPool();
      await notifySystemd(config, ["WATCHDOG=1"], logger);
      await delay(everyMs, signal).catch(() => {}); // it was stopped
    }
  }
}

/** A third of sd_watchdog_enabled(3)'s time; `undefined` if there is no watchdog, or it watches another process. */
export function watchdogIntervalMs(
  environment: Config["environment"],
  pid: number,
): number | undefined {
  const { WATCHDOG_USEC, WATCHDOG_PID = String(pid) } = environment;
  const microseconds = Number(WATCHDOG_USEC);
  if (WATCHDOG_PID !== String(pid) || !(microseconds > 0)) return undefined;
  return Math.max(100, Math.floor(microseconds / 3000));
}
