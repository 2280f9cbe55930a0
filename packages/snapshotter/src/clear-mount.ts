import { readdir, rmdir } from "node:fs/promises";
import { join } from "node:path";
import { AppError, delay, type Logger } from "@soci-ts/core";
import { findMount, readMountTable, unmount, unmountInChild } from "@soci-ts/linux";
import { listMounts, type RecordedMount, removeMountDirectory } from "./mount-directories.ts";
import type { MountRecord } from "./mount-record.ts";
import { mountSource } from "./mount-stack.ts";
import { type MountStats, readMountStats } from "./mount-stats.ts";
import { type ProcessIdentity, processState } from "./process-identity.ts";

/** How long to wait for a serving process to end by itself once its file system is unmounted. */
const SERVER_END_MS = 5000;

/** How long reads in flight may take when a layer on loop devices is unmounted. */
const READS_END_MS = 2000;

/** Whether the process that a record depends on still runs. One that can't be judged from here counts as running. */
export function isAlive({ phase, parent, server }: MountRecord): boolean {
  const owner = phase === "starting" ? parent : server;
  return owner !== undefined && processState(owner) !== "gone";
}

/** Clears away every dead mount on record. Failures are logged: a mount that can't be cleared must not keep others from being made. */
export async function clearDeadMounts(mounts: string, logger: Logger): Promise<void> {
  for (const mount of await listMounts(mounts, logger)) {
    if (isAlive(mount.record)) continue;
    try {
      await clearMount(mount, { detach: true });
      logger.info("dead mount cleared away", { id: mount.record.id, target: mount.record.target });
    } catch (error) {
      const { message } = AppError.from(error);
      logger.warn("dead mount not cleared away", { target: mount.record.target, error: message });
    }
  }
}

/**
 * Takes a mount apart, whatever of it there is: overlay, layers, FUSE, serving process, directories, record. Can be done again after
 * it was interrupted anywhere, and by two processes at once. Never looks into a mount: the process behind it may be dead.
 * @param options - `detach`: take the overlay away even if it is busy.
 * @returns what the mount's reads have cost, if the serving process could say it.
 * @throws AppError `failed_precondition` if the overlay is busy; then nothing has been changed.
 */
export async function clearMount(
  { directory, record }: RecordedMount,
  options: { readonly detach: boolean },
): Promise<MountStats | undefined> {
  await unmountTarget(record, options.detach);
  // Below the overlay nothing is anyone else's. What is still used (another mount namespace has a copy of the overlay) lives on until
  // its last user has gone, and so does the serving process.
  await unmountBelow(record);
  await endProcess(record);
  await removeEmptyDirectories(record.runtimeDirectory);
  const stats = await readMountStats(directory);
  await removeMountDirectory(directory);
  return stats;
}

async function unmountTarget(record: MountRecord, detach: boolean): Promise<void> {
  const top = findMount(record.target);
  if (top?.source === mountSource(record.id)) await unmount(record.target, { detach });
  else if (isMountedBeneath(record)) throw coveredError(record);
}

function isMountedBeneath({ id, target }: MountRecord): boolean {
  const source = mountSource(id);
  return readMountTable().some((info) => info.mountPoint === target && info.source === source);
}

function coveredError({ target }: MountRecord): AppError {
  return new AppError(
    "failed_precondition",
    `Cannot unmount "${target}": something else is mounted on top of it, want that unmounted first`,
  );
}

/** Mount points under a directory, the last mounted first. */
function mountsBelow(directory: string): readonly string[] {
  return readMountTable()
    .map((info) => info.mountPoint)
    .filter((path) => path.startsWith(`${directory}/`))
    .reverse();
}

/**
 * A layer on loop devices goes only when reads in flight have ended, also those whose reader was killed. That the last user of a layer has gone means
 * that all layers are unused, so the server may be ended, and the reads with it.
 */
async function unmountBelow({ runtimeDirectory, door, server }: MountRecord): Promise<void> {
  const how = door === "loop" ? unmountInChild : unmount;
  const giveUp = (): void => {
    if (door === "loop" && server !== undefined) kill(server);
  };
  for (const path of mountsBelow(runtimeDirectory)) {
    const timer = setTimeout(giveUp, READS_END_MS);
    await unmountIfMounted(path, how).finally(() => clearTimeout(timer));
  }
}

async function unmountIfMounted(path: string, how: typeof unmount): Promise<void> {
  try {
    await how(path, { detach: true });
  } catch (error) {
    const gone = ["EINVAL", "ENOENT"].includes(String(AppError.from(error).details["errno"]));
    if (!gone) throw error; // else another process was faster
  }
}

/**
 * A serving process ends by itself when its file system is gone. One of a mount that never came to be is ended here; one that
 * serves a copy of the mount elsewhere is left to it.
 */
async function endProcess({ phase, server }: MountRecord): Promise<void> {
  if (server === undefined) return;
  if (phase === "starting") kill(server);
  for (let waitedMs = 0; waitedMs < SERVER_END_MS; waitedMs += 10) {
    if (processState(server) !== "alive") return;
    await delay(10);
  }
}

function kill(server: ProcessIdentity): void {
  if (processState(server) !== "alive") return;
  try {
    process.kill(server.pid, "SIGKILL");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}

/** Only rmdir, never a recursive delete: if a mount were left in there, its content would be at stake. */
async function removeEmptyDirectories(directory: string): Promise<void> {
  try {
    for (const name of await readdir(directory)) await rmdirIfThere(join(directory, name));
    await rmdir(directory);
  } catch (error) {
    if (AppError.from(error).code !== "not_found") throw error;
  }
}

async function rmdirIfThere(path: string): Promise<void> {
  try {
    await rmdir(path);
  } catch (error) {
    if (AppError.from(error).code !== "not_found") throw error;
  }
}
