import { AppError } from "@soci-ts/core";
import type { RepairContainerd } from "./commands/repair-containerd.ts";
import type { Config } from "./config.ts";
import type { ControlClient } from "./documents.ts";
import type { Session } from "./session.ts";

/** Runs the daemon; resolves when it has ended cleanly. */
export async function runDaemon(session: Session): Promise<void> {
  await missing(session.config(), "run the daemon");
}

/** Connects to the control socket of the running daemon. */
export async function openControl(config: Config): Promise<ControlClient> {
  return await missing(config, "reach the daemon");
}

/** Connects to containerd for `repair`. */
export async function openRepair(config: Config): Promise<RepairContainerd> {
  return await missing(config, "reach containerd");
}

/** The process that makes mounts. */
export async function runMountHelper(session: Session, args: readonly string[]): Promise<void> {
  await missing(session.config(), `make mounts (${args.join(" ")})`);
}

async function missing(config: Config, doing: string): Promise<never> {
  throw new AppError("unimplemented", `Cannot ${doing} below ${config.root}: not in this build`);
}

export { imageWorker, keeper, layerServer, trialServer } from "./daemon/roles.ts";
