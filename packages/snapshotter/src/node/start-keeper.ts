import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, openSync } from "node:fs";
import { AppError, delay, type IoOptions } from "@soci-ts/core";
import { processState } from "../process-identity.ts";
import type { ServerCommand } from "../server-process.ts";
import { boundLog } from "./bound-log.ts";
import { clearStaleMounts, runningKeeper } from "./keeper.ts";
import type { NodePaths } from "./node-paths.ts";
import { serverStats } from "./server-stats.ts";

/** A busy machine takes this long to start two processes after a boot. */
const START_TIMEOUT_MS = 60_000;
const POLL_MS = 20;

/** A keeper that ended at once may have found another one that has only just started. */
const OTHER_KEEPER_MS = 3000;

/**
 * Sees to it that a keeper runs and its layer server answers. One that is there already, systemd's or an earlier daemon's, is used
 * as it is: its mounts and whoever reads through them go on.
 * @throws AppError `unavailable` if the server does not answer in time.
 */
export async function ensureKeeper(
  paths: NodePaths,
  command: ServerCommand,
  options: IoOptions = {},
): Promise<void> {
  const isThere = (await runningKeeper(paths)) !== undefined;
  if (!isThere) await boundLog(paths.keeperLog).catch(() => {}); // it is bounded by the layer server, too
  const child = isThere ? undefined : startDetached(paths, command);
  let deadline = Date.now() + START_TIMEOUT_MS;
  child?.once("exit", () => {
    deadline = Math.min(deadline, Date.now() + OTHER_KEEPER_MS);
  });
  for (;;) {
    try {
      await serverStats(paths, options);
      return;
    } catch (error) {
      options.signal?.throwIfAborted();
      if (Date.now() > deadline) throw keeperError(paths, error);
    }
    await delay(POLL_MS, options.signal);
  }
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
