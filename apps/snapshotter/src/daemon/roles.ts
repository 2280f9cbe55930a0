import { AppError } from "@soci-ts/core";
import { nodePaths } from "@soci-ts/snapshotter/paths";
import { refuseNewerRoot } from "@soci-ts/snapshotter/root-format";
import { createLogger } from "../logger.ts";
import { PROGRAM } from "../program-file.ts";
import type { Session } from "../session.ts";
import { holdRoot } from "./hold-root.ts";
import { requireHostMounts } from "./host-mounts.ts";
import { controlGroup, keeperUnit } from "./keeper-unit.ts";
import { notifySystemd } from "./notify-systemd.ts";
import { adjustOomScore } from "./oom-score.ts";
import { processCommand } from "./processes.ts";
import { usesUserXattrs } from "./user-xattrs.ts";

/** The process that holds `/dev/fuse`; ends when the file system has been unmounted, or another keeper has taken over. */
export async function keeper(session: Session, args: readonly string[]): Promise<void> {
  leaveSignals();
  adjustOomScore("keeper");
  const config = session.config();
  const logger = createLogger(config.logLevel, { process: "keeper" });
  const { root, environment } = config;
  requireHostMounts();
  refuseNewerRoot(root);
  const { parseHolder, runKeeper } = await import("@soci-ts/snapshotter/keeper");
  const own = processCommand(config, "keeper");
  const unit = keeperUnit(environment, controlGroup());
  await runKeeper({
    root,
    program: { version: session.version, path: PROGRAM },
    server: processCommand(config, "serve-layers"),
    self: { ...own, environment: { ...own.environment, ...unit } },
    // It is systemd's as this one is, whoever asked for it.
    successorEnvironment: { ...unit },
    holder: parseHolder(args.at(-1)),
    isSupervised: unit.NOTIFY_SOCKET !== undefined,
    hold: () => holdRoot(root, nodePaths(root).keeperSocket),
    onKeeper: (pid) =>
      notifySystemd(
        { environment: { ...environment, ...unit } },
        ["--ready", `MAINPID=${pid}`],
        logger,
      ),
    logger,
  });
}

/** The process that answers the kernel's reads; ends by SIGKILL to itself. */
export async function layerServer(session: Session, args: readonly string[]): Promise<void> {
  leaveSignals();
  adjustOomScore("serve-layers");
  const config = session.config();
  const logger = createLogger(config.logLevel, { process: "serve-layers" });
  const { root } = config;
  const readDeadlineMs = config.read.deadlineMs;
  const { blobsFrom, openRegistryClient } = await import("./registry.ts");
  const { CountingMetrics, parseServerStart, serveLayers } = await import(
    "@soci-ts/snapshotter/layer-server"
  );
  const metrics = new CountingMetrics();
  const client = openRegistryClient(config, logger, metrics);
  const { mode, maxBytesPerSecond, idleMs } = config.hydrate;
  const { quotaBytes, minFreeBytes } = config.cache;
  await serveLayers({
    root,
    version: session.version,
    openBlobs: blobsFrom(client),
    readDeadlineMs,
    hydrate: { isOn: mode === "on", maxBytesPerSecond, idleMs },
    resend: config.mount.resend,
    cacheLimits: { quotaBytes, minFreeBytes },
    ...parseServerStart(args.at(-1)),
    logger,
    metrics,
  });
}

/** The process that makes one image's layers ready. */
export async function imageWorker(session: Session): Promise<void> {
  adjustOomScore("image-worker");
  const config = session.config();
  const logger = createLogger(config.logLevel, { process: "image-worker" });
  const { root } = config;
  const { lookupTimeoutMs } = config.index;
  const { openRegistryClient } = await import("./registry.ts");
  const { CountingMetrics, runImageWorker } = await import("@soci-ts/snapshotter/image-worker");
  const { matchTrust } = await import("@soci-ts/soci");
  const metrics = new CountingMetrics();
  await using client = openRegistryClient(config, logger, metrics);
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
    metrics,
  });
}

/** One of the processes that make mounts; ends when its standard input does. */
export async function mountHelper(): Promise<void> {
  leaveSignals();
  adjustOomScore("mount-helper");
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
