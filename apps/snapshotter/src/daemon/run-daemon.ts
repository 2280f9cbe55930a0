import { once } from "node:events";
import { mkdir } from "node:fs/promises";
import { dirname } from "node:path";
import { snapshotsService } from "@soci-ts/containerd-api";
import { DisposeStack, type Logger } from "@soci-ts/core";
import { RememberedCredentials } from "@soci-ts/registry-client";
import {
  chooseDoor,
  idMappedMounts,
  nodePaths,
  openMetastore,
  openNodeLayers,
  openRoot,
  openSnapshots,
  serveLocalCalls,
  startMountHelper,
} from "@soci-ts/snapshotter";
import { openStore } from "@soci-ts/store";
import type { Config } from "../config.ts";
import { type Readiness, startHealthServer } from "../health.ts";
import { createLogger } from "../logger.ts";
import { createMetrics } from "../metrics.ts";
import { PROGRAM } from "../program-file.ts";
import { openCriImageProxy } from "../services/cri-images.ts";
import { snapshotsHandlers } from "../services/snapshots.ts";
import type { Session } from "../session.ts";
import { type SocketPlace, serveAtSocket } from "../socket.ts";
import { activatedSocket } from "../socket-activation.ts";
import { collectMetrics } from "./collect-metrics.ts";
import { controlHandlers } from "./control-handlers.ts";
import type { Daemon } from "./daemon.ts";
import { endOnFault } from "./end-on-fault.ts";
import { holdRoot } from "./hold-root.ts";
import { requireHostMounts } from "./host-mounts.ts";
import { MeteredLayers } from "./metered-layers.ts";
import { notifySystemd } from "./notify-systemd.ts";
import { adjustOomScore } from "./oom-score.ts";
import { processCommand } from "./processes.ts";
import { RecentErrors } from "./recent-errors.ts";
import { trustText } from "./trust.ts";
import { usesUserXattrs } from "./user-xattrs.ts";
import { failureListener, meteredSnapshots } from "./watch-calls.ts";
import { startWatchdog } from "./watchdog.ts";

/**
 * Runs the daemon until the session's signal aborts, or `drain` is called. Lazy mounts that containers use live on when it ends, and the next
 * daemon of the same root takes them over; where nothing uses any, nothing is left.
 * @throws AppError `failed_precondition` if another daemon has the root or the socket, or the machine lacks what it takes.
 */
export async function runDaemon(session: Session): Promise<void> {
  const config = session.config();
  const errors = new RecentErrors();
  const logger = errors.watch(createLogger(config.logLevel, { process: "daemon" }));
  endOnFault(logger);
  requireHostMounts();
  adjustOomScore("daemon");
  const stack = new DisposeStack();
  const ended = new AbortController();
  const signal = AbortSignal.any([session.signal, ended.signal]);
  try {
    const daemon = await openDaemon({ session, config, logger, errors }, stack);
    await serve(daemon, stack, () => ended.abort());
    logger.info("ready", { address: config.address, root: config.root, door: daemon.door.door });
    await notifySystemd(config, ["--ready"], logger);
    stack.use(startWatchdog(config, logger));
    if (!signal.aborted) await once(signal, "abort");
    logger.info("ending");
  } finally {
    await stack[Symbol.asyncDispose]();
  }
}

interface OpenParts {
  readonly session: Session;
  readonly config: Config;
  readonly logger: Logger;
  readonly errors: RecentErrors;
}

async function openDaemon(parts: OpenParts, stack: DisposeStack): Promise<Daemon> {
  const { session, config, logger, errors } = parts;
  const { root } = config;
  const paths = nodePaths(root);
  stack.use(await holdRoot(root, paths.daemonSocket));
  await openRoot(root);
  const metrics = createMetrics();
  const store = stack.use(await openStore(paths.store, { replaceDamaged: true, logger }));
  const database = openMetastore(root, { logger });
  stack.defer(() => database.close());
  const helper = stack.use(startMountHelper({ ...processCommand(config, "mount-helper"), logger }));
  // Its first process takes as long to start as the door to choose.
  void helper.preload("/dev/null").catch(() => {}); // a mount will say what is wrong
  const trial = processCommand(config, "serve-mount");
  const trialServer = { ...trial, argv: [...trial.argv, "--state"] as const };
  const door = await chooseDoor(config.mount.door, { store, server: trialServer, logger });
  logger.info("door chosen", { door: door.door, reason: door.reason });
  const userxattr = usesUserXattrs(config);
  // Layers are made for one kind of mark: those for the other are not to be found again.
  const marks = userxattr ? "user" : "trusted";
  const layers = stack.use(
    await openNodeLayers({
      root,
      door: door.door,
      mounter: helper,
      local: config.mount.local,
      keeper: processCommand(config, "keeper"),
      program: { version: session.version, path: PROGRAM },
      worker: processCommand(config, "image-worker"),
      policyOf: (repository) => `${marks}: ${trustText(config, repository)}`,
      idleReleaseMs: config.mount.idleReleaseMs,
      failureMemoryMs: config.index.failureMemoryMs,
      logger,
      metrics,
    }),
  );
  const idMapped = idMappedMounts(helper);
  const metered = new MeteredLayers(layers, metrics);
  const snapshots = stack.use(
    await openSnapshots({
      root,
      database,
      layers: metered,
      idMapped,
      userxattr,
      // Inode numbers of the FUSE tree use more bits than overlayfs leaves.
      xino: door.door !== "fuse",
      logger,
    }),
  );
  layers.referencedBy(() => snapshots.layersInUse());
  const startedAt = new Date();
  const { version } = session;
  const fallbacks = (): ReturnType<MeteredLayers["fallbacks"]> => metered.fallbacks();
  const { stories } = metered;
  const own = { config, version, startedAt, door, layers, snapshots, fallbacks, stories };
  return { ...own, kubelet: new RememberedCredentials(), metrics, errors, logger };
}

async function serve(daemon: Daemon, stack: DisposeStack, end: () => void): Promise<void> {
  const { config, snapshots, metrics, logger } = daemon;
  const { controlSocket } = nodePaths(config.root);
  stack.use(await serveLocalCalls(controlSocket, controlHandlers(daemon, end), logger));
  const place = await socketPlace(config);
  collectMetrics(daemon);
  const counted = meteredSnapshots(snapshots, metrics);
  const implementation = snapshotsHandlers(counted, failureListener(logger));
  const { definition } = snapshotsService();
  stack.use(await serveAtSocket(place, [{ definition, implementation }]));
  await serveCriProxy(daemon, stack);
  await serveMetrics(daemon, stack);
}

/** CRI's image service in front of containerd's, where it is configured: kubelet's credentials become known by it. */
async function serveCriProxy({ config, kubelet }: Daemon, stack: DisposeStack): Promise<void> {
  const { address } = config.criProxy;
  if (address === "") return;
  const proxy = stack.use(
    openCriImageProxy({
      criSocket: config.containerd.address,
      onCredential: ({ registry, repository, credential }) =>
        kubelet.put(registry, repository, credential),
    }),
  );
  stack.use(await serveAtSocket({ kind: "path", path: address }, proxy.services));
}

async function serveMetrics(
  { config, metrics, logger }: Daemon,
  stack: DisposeStack,
): Promise<void> {
  const { listen } = config.metrics;
  if (listen === "") return;
  const { host, port } = listenAddress(listen);
  const readiness = (): Readiness => ({ ready: true });
  stack.use(await startHealthServer({ host, port, metrics, readiness, logger }));
}

/** `host:port`, `[v6]:port`. */
function listenAddress(listen: string): { readonly host: string; readonly port: number } {
  const { hostname, port } = new URL(`http://${listen}`);
  return { host: hostname.replace(/^\[|\]$/g, ""), port: port === "" ? 80 : Number(port) };
}

/** systemd's socket, if it handed one over; else the configured path. */
async function socketPlace({ address, activation }: Config): Promise<SocketPlace> {
  const {
    listenPid: LISTEN_PID,
    listenFds: LISTEN_FDS,
    listenFdNames: LISTEN_FDNAMES,
  } = activation;
  const fd = activatedSocket({ LISTEN_PID, LISTEN_FDS, LISTEN_FDNAMES }, process.pid, "snapshots");
  if (fd !== undefined) return { kind: "descriptor", fd };
  await mkdir(dirname(address), { recursive: true, mode: 0o755 });
  return { kind: "path", path: address };
}
