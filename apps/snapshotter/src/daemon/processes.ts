import type { ServerCommand } from "@soci-ts/snapshotter";
import type { Config } from "../config.ts";
import { PROGRAM } from "../program-file.ts";

/** The daemon's own processes, by the names that the program knows them by. */
export type Role = "keeper" | "serve-layers" | "serve-mount" | "image-worker" | "mount-helper";

/** What systemd says to the process that it started, and to no other: its sockets, where to report, how often to. */
const OWN_VARIABLES = {
  LISTEN_PID: undefined,
  LISTEN_FDS: undefined,
  LISTEN_FDNAMES: undefined,
  NOTIFY_SOCKET: undefined,
  WATCHDOG_PID: undefined,
  WATCHDOG_USEC: undefined,
  MAINPID: undefined,
};

/** How to start one of the daemon's processes: this program again, with the same configuration, by a Node with the same options. */
export function processCommand(config: Config, role: Role): ServerCommand {
  const { root, address, logLevel, configFile, environment } = config;
  const options = ["--root", root, "--address", address, "--log-level", logLevel];
  if (configFile !== undefined) options.push("--config", configFile);
  return {
    argv: [process.execPath, ...process.execArgv, PROGRAM, ...options, role],
    environment: { ...environment, ...OWN_VARIABLES },
  };
}
