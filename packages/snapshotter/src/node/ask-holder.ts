import { AppError, delay, type IoOptions } from "@soci-ts/core";
import type { JsonValue } from "../mount-record.ts";
import { type ProcessIdentity, processState } from "../process-identity.ts";
import type { ServerCommand } from "../server-process.ts";
import { endProcess } from "./hand-over.ts";
import {
  isConnectionMounted,
  isSameProgram,
  type KeeperRecord,
  type Program,
  readKeeperRecord,
} from "./keeper-record.ts";
import { callLocal } from "./local-call.ts";
import type { NodePaths } from "./node-paths.ts";
import { serverStats } from "./server-stats.ts";

/** A keeper that is wanted. */
export interface WantedKeeper {
  /** Starts it. */
  readonly command: ServerCommand;
  readonly program: Program;
}

/** Longer than the holder gives the next keeper. */
const CALL_TIMEOUT_MS = 40_000;

/** A server without a keeper that does not answer for so long serves nobody either. */
const PATIENCE_MS = 60_000;
const POLL_MS = 50;

/**
 * The keeper that is wanted: one that runs or, where another program's keeper or only a layer server holds the connection, one that it starts.
 * @returns its PID; `undefined` if nobody holds the connection.
 * @throws AppError `unavailable` if the keeper that runs does not hand over: it goes on.
 */
export async function keeperFromHolder(
  paths: NodePaths,
  wanted: WantedKeeper,
  { signal }: IoOptions = {},
): Promise<number | undefined> {
  const deadline = Date.now() + PATIENCE_MS;
  for (;;) {
    const record = await readKeeperRecord(paths);
    const keeper = record !== undefined && processState(record) !== "gone" ? record : undefined;
    if (keeper !== undefined && isSameProgram(keeper.program, wanted.program)) return keeper.pid;
    if (keeper === undefined && !(await isServed(paths, record))) return undefined;
    try {
      const socket = keeper === undefined ? paths.layersSocket : paths.keeperCallsSocket;
      return await askToHandOver(socket, wanted.command, signal);
    } catch (error) {
      signal?.throwIfAborted();
      // Whoever is asked has only just started, or hands over to somebody else, or does not work.
      const isOver = keeper === undefined ? Date.now() > deadline : !isInTurn(error);
      if (isOver && keeper !== undefined) throw error;
      if (isOver) await endServer(record?.server);
    }
    await delay(POLL_MS, signal);
  }
}

function isInTurn(error: unknown): boolean {
  return AppError.from(error).code === "aborted";
}

/** A server that was started just before its keeper was killed may not be on record. */
async function isServed(paths: NodePaths, record: KeeperRecord | undefined): Promise<boolean> {
  if (!isConnectionMounted(paths)) return false;
  const server = record?.server;
  if (server !== undefined && processState(server) === "alive") return true;
  return await serverStats(paths).then(
    () => true,
    () => false, // then its connection ends with it
  );
}

async function endServer(server: ProcessIdentity | undefined): Promise<void> {
  if (server !== undefined) await endProcess(server);
}

async function askToHandOver(
  socket: string,
  { argv, environment }: ServerCommand,
  signal: AbortSignal | undefined,
): Promise<number> {
  const timeout = AbortSignal.timeout(CALL_TIMEOUT_MS);
  const either = signal === undefined ? timeout : AbortSignal.any([signal, timeout]);
  const params = JSON.parse(JSON.stringify({ argv, environment })) as JsonValue; // without what is undefined
  return Number(await callLocal(socket, "handOver", params, { signal: either }));
}
