import { readFile, rm } from "node:fs/promises";
import { AppError } from "@soci-ts/core";
import { findMount } from "@soci-ts/linux";
import { replaceFile } from "../mount-directories.ts";
import { type ProcessIdentity, processState } from "../process-identity.ts";
import type { EndCounts } from "./keep-serving.ts";
import type { NodePaths } from "./node-paths.ts";

/** What a process was started from; where version or path differ, it is another program. */
export interface Program {
  readonly version: string;
  /** Where it is installed. */
  readonly path: string;
}

/** What a keeper writes down about itself: `keeper.json`, anew with each server that it starts. */
export interface KeeperRecord extends ProcessIdentity, EndCounts {
  readonly format: number;
  readonly program: Program;
  /** The layer server, which holds the connection as well; it may be gone by now. */
  readonly server: ProcessIdentity | undefined;
}

/** Format of the record. What older versions can't ignore makes it one more. */
export const KEEPER_RECORD_FORMAT = 1;

/** Whether the node's FUSE file system is mounted. */
export function isConnectionMounted(paths: NodePaths): boolean {
  return findMount(paths.fuse)?.source === paths.fuseSource;
}

/**
 * The record of the keeper of a connection that is mounted; `undefined` if there is none. Whether the keeper still lives is another question.
 * @throws AppError `failed_precondition` if it was written by a version that this one does not understand.
 */
export async function readKeeperRecord(paths: NodePaths): Promise<KeeperRecord | undefined> {
  if (!isConnectionMounted(paths)) return undefined;
  let record: Partial<KeeperRecord>;
  try {
    record = JSON.parse(await readFile(paths.keeperRecord, "utf8")) as Partial<KeeperRecord>;
  } catch {
    return undefined; // no record, or a torn one: whoever wrote it is not there to keep anything
  }
  const { format = 0 } = record;
  if (format > KEEPER_RECORD_FORMAT) throw formatError(paths, format);
  const { pid, startTicks, bootId, pidNamespace, server } = record;
  if (pid === undefined || startTicks === undefined) return undefined;
  if (bootId === undefined || pidNamespace === undefined) return undefined;
  const { program = { version: "", path: "" }, crashes = 0, kills = 0 } = record;
  const identity = { pid, startTicks, bootId, pidNamespace };
  return { format, program, crashes, kills, server, ...identity };
}

function formatError({ keeperRecord }: NodePaths, format: number): AppError {
  const message = `Cannot take over from the keeper in "${keeperRecord}": its format is ${format}, want ${KEEPER_RECORD_FORMAT} or less, or a program at least as new as it`;
  return new AppError("failed_precondition", message);
}

/** The keeper that holds the connection of this root, if one is alive and the mount is there. @throws AppError as {@link readKeeperRecord}. */
export async function runningKeeper(paths: NodePaths): Promise<KeeperRecord | undefined> {
  const record = await readKeeperRecord(paths);
  return record === undefined || processState(record) === "gone" ? undefined : record;
}

/** Whether two processes are of one program. */
export function isSameProgram(one: Program, other: Program): boolean {
  return one.version === other.version && one.path === other.path;
}

/** Writes the record. */
export async function writeKeeperRecord(paths: NodePaths, record: KeeperRecord): Promise<void> {
  await replaceFile(paths.keeperRecord, JSON.stringify(record), { flush: true });
}

/** Removes what a keeper wrote down. Another one may have come meanwhile: its record stays. */
export async function removeKeeperRecord(paths: NodePaths, own: ProcessIdentity): Promise<void> {
  const text = await readFile(paths.keeperRecord, "utf8").catch(() => "null"); // nothing to remove
  const there = JSON.parse(text) as Partial<KeeperRecord> | null;
  if (there?.pid !== own.pid || there.startTicks !== own.startTicks) return;
  for (const path of [paths.keeperRecord, paths.fuseRecord]) await rm(path, { force: true });
}
