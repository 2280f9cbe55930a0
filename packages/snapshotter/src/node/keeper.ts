import { closeSync } from "node:fs";
import { mkdir, readdir, rm, rmdir } from "node:fs/promises";
import { join } from "node:path";
import { AppError, type Logger } from "@soci-ts/core";
import { fuseMount, openFuseDevice, readMountTable, unmount } from "@soci-ts/linux";
import { ownIdentity } from "../process-identity.ts";
import type { ServerCommand } from "../server-process.ts";
import { keeperFromHolder } from "./ask-holder.ts";
import { endProcess, type Holder, handOverHandler, type Successor, takeOver } from "./hand-over.ts";
import { type EndCounts, keepServing, type ServingOptions } from "./keep-serving.ts";
import {
  isConnectionMounted,
  KEEPER_RECORD_FORMAT,
  type Program,
  readKeeperRecord,
  removeKeeperRecord,
  runningKeeper,
  writeKeeperRecord,
} from "./keeper-record.ts";
import { serveLocalCalls } from "./local-call.ts";
import { type NodePaths, nodePaths } from "./node-paths.ts";

export { parseHolder } from "./hand-over.ts";

/** What the keeper needs. */
export interface KeeperOptions {
  /** The daemon's root. */
  readonly root: string;
  /** What this keeper is. */
  readonly program: Program;
  /**
   * Starts the layer server; its descriptor {@link LAYER_SERVER_FUSE_FD} will be the FUSE connection. How its predecessors ended is added as the last
   * argument (`parseServerStart`).
   */
  readonly server: ServerCommand;
  /** Starts this keeper: whoever holds a connection without being a keeper is asked to start it so. Who hands over is added as the last argument. */
  readonly self: ServerCommand;
  /** What a keeper that takes over from this one has in its environment, besides what it was given by who asked for it. */
  readonly successorEnvironment?: ServerCommand["environment"];
  /** Who hands a connection over to this process (`parseHolder`). */
  readonly holder: Holder | undefined;
  /** True if somebody wants to know which process the keeper is and finds none too many: one that runs is taken instead of this one. */
  readonly isSupervised: boolean;
  /** Makes this the only keeper of the root, for as long as it is one. @throws AppError `failed_precondition` if there is another one. */
  readonly hold: () => Promise<AsyncDisposable>;
  /** Told which process is the keeper when it is not any more, or not yet, the one that everybody takes for it. Never rejects. */
  readonly onKeeper: (pid: number) => Promise<void>;
  /** How often the server is to beat, in milliseconds. Default 1000. */
  readonly tickMs?: number;
  readonly logger: Logger;
}

const DEFAULT_TICK_MS = 1000;

/**
 * The process that holds the node's FUSE connection, so that mounts live on whoever else dies. It makes the mount or takes it over, starts the layer
 * server with the connection inherited, starts it again when it ends or hangs, and ends when the file system has been unmounted or another keeper has
 * taken over. It does nothing else, so there is nothing in it to fail.
 * @throws AppError if FUSE can't be mounted, or another keeper runs.
 */
export async function runKeeper(options: KeeperOptions): Promise<void> {
  const paths = nodePaths(options.root);
  for (const signal of ["SIGHUP", "SIGINT", "SIGTERM"]) process.on(signal, () => {});
  if (options.holder !== undefined) return await inherit(options, paths, options.holder);
  for (const path of [paths.root, paths.runtime]) {
    await mkdir(path, { recursive: true, mode: 0o700 });
  }
  const other = await otherKeeper(options, paths);
  if (other === undefined) return await beginAnew(options, paths);
  options.logger.info("FUSE connection kept by another process", { pid: other });
  await options.onKeeper(other);
}

/** The keeper that is there, or that whoever holds the connection starts instead of this one. */
async function otherKeeper(
  { isSupervised, self, program }: KeeperOptions,
  paths: NodePaths,
): Promise<number | undefined> {
  const running = await runningKeeper(paths);
  if (running !== undefined && !isSupervised) {
    const state = `process ${running.pid} does, want one for "${paths.root}"`;
    throw new AppError("failed_precondition", `Cannot keep the FUSE connection: ${state}`);
  }
  return await keeperFromHolder(paths, { command: self, program });
}

async function beginAnew(options: KeeperOptions, paths: NodePaths): Promise<void> {
  await whileHeld(options, async () => {
    await clearStaleMounts(paths);
    await rm(paths.fuseRecord, { force: true });
    await mkdir(paths.fuse, { recursive: true, mode: 0o700 });
    const fd = openFuseDevice();
    try {
      await fuseMount({ fd, target: paths.fuse, source: paths.fuseSource });
      options.logger.info("FUSE connection kept", { path: paths.fuse });
      void options.onKeeper(process.pid); // the server is not to wait for it
      return await keep(options, paths, { fd, crashes: 0, kills: 0 });
    } finally {
      closeSync(fd);
    }
  });
}

/** Whatever might go wrong comes before the connection is taken: until then the holder goes on as before. */
async function inherit(options: KeeperOptions, paths: NodePaths, holder: Holder): Promise<void> {
  await readKeeperRecord(paths);
  if (!isConnectionMounted(paths)) {
    throw new AppError("failed_precondition", "Cannot keep the FUSE connection: it is not mounted");
  }
  const fd = await takeOver(holder);
  await whileHeld(options, async () => {
    // Read again: the holder may have started another server meanwhile.
    const record = await readKeeperRecord(paths);
    const server = holder.role === "server" ? holder : record?.server;
    if (server !== undefined) await endProcess(server);
    const { crashes = 0, kills = 0 } = record ?? {};
    options.logger.info("FUSE connection taken over", { path: paths.fuse, from: holder.pid });
    return await keep(options, paths, { fd, crashes, kills });
  });
  closeSync(fd);
}

/** A successor comes into its own when this keeper is none any more. */
async function whileHeld(
  { hold, logger }: KeeperOptions,
  work: () => Promise<Successor | undefined>,
): Promise<void> {
  const held = await hold();
  let successor: Successor | undefined;
  try {
    successor = await work();
  } finally {
    await held[Symbol.asyncDispose]();
    successor?.release();
  }
  if (successor === undefined) logger.info("FUSE connection given up: it was unmounted");
  else logger.info("FUSE connection handed over", { pid: successor.pid });
}

/** Keeps a connection until its end, or until there is a successor. */
async function keep(
  options: KeeperOptions,
  paths: NodePaths,
  connection: EndCounts & { readonly fd: number },
): Promise<Successor | undefined> {
  const { server, program, logger, onKeeper, tickMs = DEFAULT_TICK_MS } = options;
  const own = ownIdentity();
  const released = new AbortController();
  let successor: Successor | undefined;
  const { fd } = connection;
  const holder = { role: "keeper", fd, environment: options.successorEnvironment } as const;
  const handOver = handOverHandler(holder, async (next) => {
    await onKeeper(next.pid);
    successor = next;
    setImmediate(() => released.abort()); // after the answer
  });
  const writeDown: ServingOptions["onStarted"] = (server, { crashes, kills }) => {
    const record = { ...own, format: KEEPER_RECORD_FORMAT, program, server, crashes, kills };
    return writeKeeperRecord(paths, record);
  };
  await writeDown(undefined, connection);
  try {
    await using _calls = await serveLocalCalls(paths.keeperCallsSocket, { handOver }, logger);
    const isMounted = (): boolean => isConnectionMounted(paths);
    const signal = released.signal;
    const rest = { server, tickMs, logger, isMounted, onStarted: writeDown, released: signal };
    await keepServing({ ...connection, ...rest });
  } finally {
    if (successor === undefined) await removeKeeperRecord(paths, own);
  }
  return successor;
}

/** Takes everything away that is mounted below the root, the last mounted first. Never looks into it: who served it may be dead. */
export async function clearStaleMounts(paths: NodePaths): Promise<void> {
  const below = readMountTable()
    .map(({ mountPoint }) => mountPoint)
    .filter((path) => path === paths.fuse || path.startsWith(`${paths.root}/`));
  for (const path of below.reverse()) await unmount(path, { detach: true });
  const points = await readdir(paths.mounts).catch(() => []); // none were made yet
  for (const name of points) await rmdir(join(paths.mounts, name));
}
