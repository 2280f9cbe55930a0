// What the command tree runs. Each loads what it needs and no more: the daemon's small processes are started often, and stay.
import type { Config } from "./config.ts";
import type { ControlClient } from "./documents.ts";
import type { Session } from "./session.ts";

/** Runs the daemon; resolves when it has ended cleanly. */
export async function runDaemon(session: Session): Promise<void> {
  await (await import("./daemon/run-daemon.ts")).runDaemon(session);
}

/** The control socket of the running daemon. */
export async function controlClient(config: Config): Promise<ControlClient> {
  return (await import("./daemon/control.ts")).controlClient(config);
}

export { imageWorker, keeper, layerServer, mountHelper, trialServer } from "./daemon/roles.ts";
