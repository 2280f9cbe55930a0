import { spawn } from "node:child_process";
import { closeSync } from "node:fs";
import { mkdir, readdir, readFile, rm, rmdir } from "node:fs/promises";
import { join } from "node:path";
import { AppError, delay, type Logger } from "@soci-ts/core";
import { findMount, fuseMount, openFuseDevice, readMountTable, unmount } from "@soci-ts/linux";
import { replaceFile } from "../mount-directories.ts";
import { ownIdentity, type ProcessIdentity, processState } from "../process-identity.ts";
import type { ServerCommand } from "../server-process.ts";
import { LAYER_SERVER_FUSE_FD, type NodePaths, nodePaths } from "./node-paths.ts";

/** What the keeper needs. */
export interface KeeperOptions {
  /** The daemon's root. */
  readonly root: string;
  /**
   * Starts the layer server; its descriptor {@link LAYER_SERVER_FUSE_FD} will be the FUSE connection. How often it was started again is added
   * as the last argument.
   */
  readonly server: ServerCommand;
  readonly logger: Logger;
}

/** libuv threads of the layer server: two wait for requests, the others inflate, hash and do file I/O. */
const SERVER_THREADS = "16";

/** A server that ran for this long has not failed at its start. */
const STABLE_MS = 10_000;
const MAX_BACKOFF_MS = 5000;

/**
 * The process that holds the node's FUSE connection, so that mounts live on whoever else dies. It makes the mount, starts the layer
 * server with the connection inherited, starts it again when it ends, and ends when the file system has been unmounted. It does
 * nothing else, so there is nothing in it to fail.
 * @throws AppError if FUSE can't be mounted, or another keeper runs.
 */
export async function runKeeper(options: KeeperOptions): Promise<void> {
  const { logger } = options;
  const paths = nodePaths(options.root);
  for (const signal of ["SIGHUP", "SIGINT", "SIGTERM"]) process.on(signal, () => {});
  for (const path of [paths.root, paths.runtime]) {
    await mkdir(path, { recursive: true, mode: 0o700 });
  }
  const other = await runningKeeper(paths);
  if (other !== undefined) {
    const state = `process ${other.pid} does, want one for "${paths.root}"`;
    throw new AppError("failed_precondition", `Cannot keep the FUSE connection: ${state}`);
  }
  await clearStaleMounts(paths);
  await rm(paths.fuseRecord, { force: true });
  await mkdir(paths.fuse, { recursive: true, mode: 0o700 });
  const fd = openFuseDevice();
  const own = JSON.stringify(ownIdentity());
  try {
    await fuseMount({ fd, target: paths.fuse, source: paths.fuseSource });
    await replaceFile(paths.keeperRecord, own, { flush: true });
    logger.info("FUSE connection kept", { path: paths.fuse });
    await keepServing(options, paths, fd);
  } finally {
    closeSync(fd);
    await removeRecord(paths, own);
  }
}

/** Another keeper may have come meanwhile: one whose mount was taken away serves who still uses it until they end. */
async function removeRecord(paths: NodePaths, own: string): Promise<void> {
  const there = await readFile(paths.keeperRecord, "utf8").catch(() => undefined); // nothing to remove
  if (there !== own) return;
  for (const path of [paths.keeperRecord, paths.fuseRecord]) await rm(path, { force: true });
}

/** The keeper that holds the connection of this root, if one is alive and the mount is there. */
export async function runningKeeper(paths: NodePaths): Promise<ProcessIdentity | undefined> {
  if (findMount(paths.fuse)?.source !== paths.fuseSource) return undefined;
  try {
    const identity = JSON.parse(await readFile(paths.keeperRecord, "utf8")) as ProcessIdentity;
    return processState(identity) === "gone" ? undefined : identity;
  } catch {
    return undefined; // no record, or a torn one: whoever wrote it is not there to keep anything
  }
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

async function keepServing(
  { server, logger }: KeeperOptions,
  paths: NodePaths,
  fd: number,
): Promise<void> {
  let backoffMs = 0;
  for (let restarts = 0; ; restarts += 1) {
    const startedMs = Date.now();
    const how = await serveOnce(server, fd, restarts);
    if (findMount(paths.fuse)?.source !== paths.fuseSource) {
      logger.info("FUSE connection given up: it was unmounted");
      return;
    }
    logger.error("layer server ended, another is started", { how, backoffMs });
    await delay(backoffMs);
    const wasStable = Date.now() - startedMs > STABLE_MS;
    backoffMs = wasStable ? 0 : Math.min(MAX_BACKOFF_MS, backoffMs * 2 + 50);
  }
}

/** Runs one server to its end; says how it ended. */
function serveOnce(
  { argv, environment }: ServerCommand,
  fd: number,
  restarts: number,
): Promise<string> {
  const [program, ...args] = argv;
  const stdio: ("ignore" | "inherit" | number)[] = ["ignore", "inherit", "inherit"];
  stdio[LAYER_SERVER_FUSE_FD] = fd;
  return new Promise((resolve) => {
    const child = spawn(program, [...args, String(restarts)], {
      cwd: "/",
      env: { ...environment, UV_THREADPOOL_SIZE: SERVER_THREADS },
      stdio,
    });
    child.once("error", (error) => resolve(error.message));
    child.once("exit", (code, signal) => resolve(String(signal ?? code)));
  });
}
