import { AppError } from "@soci-ts/core";
import type { RepairContainerd } from "./commands/repair-containerd.ts";
import type { Config } from "./config.ts";

export { controlClient } from "./daemon/control.ts";
export { imageWorker, keeper, layerServer, mountHelper, trialServer } from "./daemon/roles.ts";
export { runDaemon } from "./daemon/run-daemon.ts";

/** Connects to containerd for `repair`. */
export async function openRepair(config: Config): Promise<RepairContainerd> {
  throw new AppError(
    "unimplemented",
    `Cannot reach ${config.containerd.address}: not in this build`,
  );
}
