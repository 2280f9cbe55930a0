import { fileURLToPath } from "node:url";
import type { ServerCommand } from "@soci-ts/snapshotter";
import type { Config } from "../config.ts";

/** The daemon's own processes, by the names that the program knows them by. */
export type Role = "keeper" | "serve-layers" | "serve-mount" | "image-worker" | "mount-helper";

const PROGRAM = fileURLToPath(new URL("../../bin/soci-snapshotter.js", import.meta.url));

/** How to start one of the daemon's processes: this program again, with the same configuration. */
export function processCommand(config: Config, role: Role): ServerCommand {
  const { root, address, logLevel, configFile, environment } = config;
  const options = ["--root", root, "--address", address, "--log-level", logLevel];
  if (configFile !== undefined) options.push("--config", configFile);
  return {
    argv: [process.execPath, PROGRAM, ...options, role],
    // A socket that systemd handed over is the daemon's alone.
    environment: { ...environment, LISTEN_PID: undefined, LISTEN_FDS: undefined },
  };
}
