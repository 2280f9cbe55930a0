import { execFile } from "node:child_process";
import type { Logger } from "@soci-ts/core";
import type { Config } from "../config.ts";

/** Tells systemd that the daemon is ready, where systemd started it: Node has no datagram sockets, so its own tool says it. */
export function notifySystemd({ environment }: Config, logger: Logger): void {
  if (environment["NOTIFY_SOCKET"] === undefined) return;
  execFile("systemd-notify", ["--ready"], (error) => {
    if (error !== null) logger.warn("systemd not told", { error: error.message });
  });
}
