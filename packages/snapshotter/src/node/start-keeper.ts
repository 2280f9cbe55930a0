import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, openSync } from "node:fs";
import { AppError, delay, type IoOptions, type Logger } from "@soci-ts/core";
import { processState } from "../process-identity.ts";
import type { ServerCommand } from "../server-process.ts";
import { keeperFromHolder, type WantedKeeper } from "./ask-holder.ts";
import { boundLog } from "./bound-log.ts";
import { clearStaleMounts } from "./keeper.ts";
import { runningKeeper } from "./keeper-record.ts";
import type { NodePaths } from "./node-paths.ts";
import { serverStats } from "./server-stats.ts";

/** A busy machine takes this long to start two processes after a boot. */
const START_TIMEOUT_MS = 60_000;
const POLL_MS = 20;

/** A keeper that ended at once may have found another one that has only just started. */
const OTHER_KEEPER_MS = 3000;

/** A keeper that is wanted, and where to say what comes in its way. */
export interface EnsureKeeperOptions extends WantedKeeper {
  readonly logger: Logger;
}

/**
 * Sees to it that a keeper runs and its layer server answers. One that is there already, systemd's or an earlier daemon's, is used as it is if it is
 * of the same program; else it hands over to one that is. Where the keeper is gone and its server is there, that does. Mounts and whoever reads
 * through them go on.
 * @throws AppError `unavailable` if the server does not answer in time; `failed_precondition` if what runs is too new for this program.
 */
export async function ensureKeeper(
  paths: NodePaths,
  wanted: EnsureKeeperOptions,
  options: IoOptions = {},
): Promise<void> {
  const pid = await existingKeeper(paths, wanted, options);
  if (pid === undefined) await boundLog(paths.keeperLog).catch(() => {}); // it is bounded by the layer server, too
  const child = pid === undefined ? startDetached(paths, wanted.command) : undefined;
  let deadline = Date.now() + START_TIMEOUT_MS;
  child?.once("exit", () => {
    deadline = Math.min(deadline, Date.now() + OTHER_KEEPER_MS);
  });
  for (;;) {
    try {
      await answeringKeeper(paths, pid, options);
      return;
    } catch (error) {
      options.signal?.throwIfAborted();
      if (Date.now() > deadline) throw keeperError(paths, error);
    }
    await delay(POLL_MS, options.signal);
  }
}

/** A keeper that does not hand over is as good as it was before. */
async function existingKeeper(
  paths: NodePaths,
  wanted: EnsureKeeperOptions,
  options: IoOptions,
): Promise<number | undefined> {
  try {
    return await keeperFromHolder(paths, wanted, options);
  } catch (error) {
    const running = await runningKeeper(paths);
    if (running === undefined || options.signal?.aborted === true) throw error;
    const { message } = AppError.from(error);
    wanted.logger.error("keeper not replaced, it goes on", { error: message });
    return running.pid;
  }
}

/** Resolves if the keeper's own server answers; one that is being replaced may do so, too. */
async function answeringKeeper(
  paths: NodePaths,
  pid: number | undefined,
  options: IoOptions,
): Promise<void> {
  const { pid: serverPid } = await serverStats(paths, options);
  const keeper = await runningKeeper(paths);
  if (pid !== undefined && keeper?.pid !== pid) throw stillReplaced();
  if (keeper?.server !== undefined && keeper.server.pid !== serverPid) throw stillReplaced();
}

function stillReplaced(): AppError {
  return new AppError("unavailable", "Cannot use the layer server: it is being replaced");
}

/** In a session of its own, so that nothing that ends the daemon ends it. */
function startDetached(paths: NodePaths, { argv, environment }: ServerCommand): ChildProcess {
  const [program, ...args] = argv;
  const log = openSync(paths.keeperLog, "a", 0o600);
  try {
    const child = spawn(program, args, {
      cwd: "/",
      detached: true,
      env: { ...environment },
      stdio: ["ignore", log, log],
    });
    child.on("error", () => {}); // it never answers, and that is reported
    child.unref();
    return child;
  } finally {
    closeSync(log);
  }
}

function keeperError(paths: NodePaths, cause: unknown): AppError {
  const message = `Cannot start the layer server: it does not answer, want to see why in "${paths.keeperLog}"`;
  return new AppError("unavailable", message, { cause });
}

/** Unmounts everything below the root and waits until keeper and server are gone. What containers still use lives on until they end. */
export async function stopKeeper(paths: NodePaths): Promise<void> {
  const keeper = await runningKeeper(paths);
  await clearStaleMounts(paths);
  if (keeper === undefined) return;
  const deadline = Date.now() + START_TIMEOUT_MS;
  while (processState(keeper) === "alive" && Date.now() < deadline) await delay(POLL_MS);
}
