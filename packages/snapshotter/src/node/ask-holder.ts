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
    const holder = await holderOf(paths);
    if (holder === undefined) return undefined;
    const { keeper } = holder;
    if (keeper !== undefined && isSameProgram(keeper.program, wanted.program)) return keeper.pid;
    try {
      return await askToHandOver(holder.socket, wanted.command, signal);
    } catch (error) {
      signal?.throwIfAborted();
      await onRefusal(holder, error, Date.now() > deadline);
    }
    await delay(POLL_MS, signal);
  }
}

/** Who holds a connection: a keeper, or a server whose keeper is gone. */
interface ConnectionHolder {
  readonly keeper: KeeperRecord | undefined;
  readonly server: ProcessIdentity | undefined;
  /** Where it is asked. */
  readonly socket: string;
}

async function holderOf(paths: NodePaths): Promise<ConnectionHolder | undefined> {
  const record = await readKeeperRecord(paths);
  const server = record?.server;
  if (record !== undefined && processState(record) !== "gone") {
    return { keeper: record, server, socket: paths.keeperCallsSocket };
  }
  const isServed = await hasServer(paths, server);
  return isServed ? { keeper: undefined, server, socket: paths.layersSocket } : undefined;
}

/** A server that was started just before its keeper was killed may not be on record. */
async function hasServer(paths: NodePaths, server: ProcessIdentity | undefined): Promise<boolean> {
  if (!isConnectionMounted(paths)) return false;
  if (server !== undefined && processState(server) === "alive") return true;
  return await serverStats(paths).then(
    () => true,
    () => false, // then its connection ends with it
  );
}

/** Whoever hands over to somebody else, or has only just started, is asked again; a server that does not work is ended at last. */
async function onRefusal(
  { keeper, server }: ConnectionHolder,
  error: unknown,
  isOverdue: boolean,
): Promise<void> {
  if (keeper !== undefined && AppError.from(error).code !== "aborted") throw error;
  if (keeper === undefined && isOverdue && server !== undefined) await endProcess(server);
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
