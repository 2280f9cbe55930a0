import { AppError } from "@soci-ts/core";
import { nodePaths } from "@soci-ts/snapshotter/paths";
import { refuseNewerRoot } from "@soci-ts/snapshotter/root-format";
import { createLogger } from "../logger.ts";
import type { Session } from "../session.ts";
import { holdRoot } from "./hold-root.ts";
import { processCommand } from "./processes.ts";
import { usesUserXattrs } from "./user-xattrs.ts";

/** The process that holds `/dev/fuse`; ends when the file system has been unmounted. */
export async function keeper(session: Session): Promise<void> {
  leaveSignals();
  const config = session.config();
  const logger = createLogger(config.logLevel, { process: "keeper" });
  const { root } = config;
  refuseNewerRoot(root);
  const { runKeeper } = await import("@soci-ts/snapshotter/keeper");
  await using _hold = await holdRoot(root, nodePaths(root).keeperSocket);
  await runKeeper({ root, server: processCommand(config, "serve-layers"), logger });
}

/** The process that answers the kernel's reads; ends by SIGKILL to itself. */
export async function layerServer(session: Session, args: readonly string[]): Promise<void> {
  leaveSignals();
  const config = session.config();
  const logger = createLogger(config.logLevel, { process: "serve-layers" });
  const { root } = config;
  const readDeadlineMs = config.read.deadlineMs;
  const { blobsFrom, openRegistryClient } = await import("./registry.ts");
  const { serveLayers } = await import("@soci-ts/snapshotter/layer-server");
  const client = openRegistryClient(config, logger);
  const restarts = Number(args.at(-1));
  await serveLayers({ root, openBlobs: blobsFrom(client), readDeadlineMs, restarts, logger });
}

/** The process that makes one image's layers ready. */
export async function imageWorker(session: Session): Promise<void> {
  const config = session.config();
  const logger = createLogger(config.logLevel, { process: "image-worker" });
  const { root } = config;
  const { lookupTimeoutMs } = config.index;
  const { openRegistryClient } = await import("./registry.ts");
  const { runImageWorker } = await import("@soci-ts/snapshotter/image-worker");
  const { matchTrust } = await import("@soci-ts/soci");
  await using client = openRegistryClient(config, logger);
  const overlayXattrs = usesUserXattrs(config) ? "user" : "trusted";
  const wholeAtOnce = config.stream.maxLayersAtOnce;
  await runImageWorker({
    root,
    client,
    policyOf: (repository) => matchTrust(config.trust, repository),
    overlayXattrs,
    wholeAtOnce,
    lookupTimeoutMs,
    logger,
  });
}

/** One of the processes that make mounts; ends when its standard input does. */
export async function mountHelper(): Promise<void> {
  leaveSignals();
  const { runMountHelper } = await import("@soci-ts/snapshotter/mount-helper");
  await runMountHelper();
}

/** The serving process of a trial mount, which reads no blob. */
export async function trialServer(session: Session, args: readonly string[]): Promise<void> {
  leaveSignals();
  const logger = createLogger(session.config().logLevel, { process: "serve-mount" });
  const { serveMount } = await import("@soci-ts/snapshotter");
  await serveMount({
    directory: args.at(-1) ?? "",
    openBlobs: async () => ({
      openBlob: ({ digest }) => {
        throw new AppError("data_loss", `Cannot open blob ${digest}: this is a trial mount`);
      },
    }),
    logger,
  });
}

/** These processes have their own way with signals. */
function leaveSignals(): void {
  process.removeAllListeners("SIGINT");
  process.removeAllListeners("SIGTERM");
}
