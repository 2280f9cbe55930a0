import { execFile } from "node:child_process";
import type { Logger } from "@soci-ts/core";
import type { Config } from "../config.ts";

/** systemd has hung: whoever waits for it has other things to do. */
const TIMEOUT_MS = 5000;

/**
 * Tells systemd something, where systemd started this process: Node has no datagram sockets of that kind, so its own tool says it. Never rejects: what
 * systemd does not learn is no reason not to work.
 * @param words - arguments of systemd-notify(1).
 */
export async function notifySystemd(
  { environment }: Pick<Config, "environment">,
  words: readonly string[],
  logger: Logger,
): Promise<void> {
  const NOTIFY_SOCKET = environment["NOTIFY_SOCKET"];
  if (NOTIFY_SOCKET === undefined) return;
  const env = { PATH: environment["PATH"], NOTIFY_SOCKET };
  await new Promise<void>((resolve) => {
    execFile("systemd-notify", words, { env, timeout: TIMEOUT_MS }, (error) => {
      if (error !== null) logger.warn("systemd not told", { error: error.message });
      resolve();
    });
  });
}
