import { spawn } from "node:child_process";
import { fstatSync } from "node:fs";
import { Socket } from "node:net";
import type { Duplex } from "node:stream";
import { AppError, delay } from "@soci-ts/core";
import type { JsonValue } from "../mount-record.ts";
import { ownIdentity, type ProcessIdentity, processState } from "../process-identity.ts";
import type { ServerCommand } from "../server-process.ts";
import type { LocalHandler } from "./local-call.ts";

/**
 * Handing over the FUSE connection. A descriptor of `/dev/fuse` can only be inherited, so whoever holds it starts the next keeper with it:
 *
 * 1. somebody calls `handOver` with the next keeper's command, at the keeper's socket or, if the keeper is gone, at its server's;
 * 2. the holder starts it, connection and a pipe inherited;
 * 3. the next keeper looks whether it can keep the connection, and says so on the pipe. If it does not, it is ended, and all is as before;
 * 4. a keeper that hands over ends, and its server goes on; a server waits for its end;
 * 5. the pipe's end tells the next keeper that it is the keeper: it writes its record, ends the server that is there and starts one of its own.
 */
interface HandOver {
  readonly holder: Holder;
  /** The connection; stays the caller's. */
  readonly fd: number;
  readonly command: ServerCommand;
  readonly timeoutMs: number;
}

/** Who hands over. */
export interface Holder extends ProcessIdentity {
  readonly role: "keeper" | "server";
}

/** A keeper that has been started with the connection. */
export interface Successor {
  readonly pid: number;
  /** Tells it that it is the keeper from now on. */
  release(): void;
}

/** Descriptors of a keeper that inherits. */
const INHERITED_FDS = { fuse: 3, pipe: 4 } as const;

const HOLDS = "holds\n";

/** Starting a process on a busy machine takes some seconds. */
const HAND_OVER_TIMEOUT_MS = 30_000;

/** A keeper that has handed over is gone long before. */
const RELEASE_TIMEOUT_MS = 5000;

/** How long a process that was sent SIGKILL is waited for: a thread in uninterruptible sleep may keep it. */
const REAP_MS = 1000;
const POLL_MS = 10;

/**
 * The `handOver` method, one at a time.
 * @param holder - what is handed over, and what the successor has in its environment besides what the caller gives it.
 * @param onSuccessor - called before the answer.
 */
export function handOverHandler(
  holder: Pick<Holder, "role"> & {
    readonly fd: number;
    readonly environment?: ServerCommand["environment"] | undefined;
  },
  onSuccessor: (successor: Successor) => Promise<void>,
): LocalHandler {
  let isBusy = false;
  return async (params) => {
    if (isBusy) {
      throw new AppError("aborted", "Cannot hand the connection over: it is being handed over");
    }
    isBusy = true;
    try {
      const { argv, environment } = parseCommand(params);
      const command = { argv, environment: { ...environment, ...holder.environment } };
      const successor = await handOver({
        holder: { ...ownIdentity(), role: holder.role },
        fd: holder.fd,
        command,
        timeoutMs: HAND_OVER_TIMEOUT_MS,
      });
      await onSuccessor(successor);
      return successor.pid;
    } finally {
      isBusy = false;
    }
  };
}

function parseCommand(params: JsonValue): ServerCommand {
  const { argv, environment } = { ...(params as unknown as Partial<ServerCommand> | null) };
  const isText = (value: unknown): boolean => typeof value === "string";
  const isCommand = Array.isArray(argv) && argv.length > 0 && argv.every(isText);
  if (!isCommand || argv === undefined) {
    throw new AppError("invalid_argument", "Cannot hand the connection over: want a command");
  }
  return { argv, environment: environment ?? {} };
}

/**
 * Starts a keeper and waits until it says that it can keep the connection.
 * @throws AppError `unavailable` if it ends, or is not ready in time.
 */
export async function handOver(request: HandOver): Promise<Successor> {
  const { holder, fd, command, timeoutMs } = request;
  const [program, ...args] = command.argv;
  const child = spawn(program, [...args, JSON.stringify(holder)], {
    cwd: "/",
    detached: true,
    env: { ...command.environment },
    stdio: ["ignore", "inherit", "inherit", fd, "pipe"],
  });
  const pipe = child.stdio[INHERITED_FDS.pipe] as Duplex;
  const holds = await new Promise<boolean>((resolve) => {
    let said = "";
    pipe.on("data", (piece: Buffer) => {
      said += piece.toString("latin1");
      if (said.startsWith(HOLDS)) resolve(true);
    });
    pipe.on("error", () => {}); // its end says the same
    child.on("error", () => resolve(false));
    child.once("exit", () => resolve(false));
    setTimeout(() => resolve(false), timeoutMs).unref();
  });
  child.unref();
  const { pid } = child;
  const release = (): void => void pipe.destroy();
  if (holds && pid !== undefined) return { pid, release };
  child.kill("SIGKILL");
  release();
  throw new AppError("unavailable", `Cannot hand the connection over: ${program} did not take it`);
}

/** Who hands the connection over to this process; `undefined` if it has not inherited any. The text is its last argument. */
export function parseHolder(text: string | undefined): Holder | undefined {
  return text?.startsWith("{") === true ? (JSON.parse(text) as Holder) : undefined;
}

/**
 * Takes the connection over. When this resolves the holder, if it is a keeper, is none any more.
 * @returns the connection's descriptor.
 * @throws AppError `failed_precondition` if none was inherited.
 */
export async function takeOver(holder: Holder): Promise<number> {
  if (!fstatSync(INHERITED_FDS.fuse).isCharacterDevice()) {
    const message = `Cannot take over the connection: descriptor ${INHERITED_FDS.fuse} is no device, want /dev/fuse`;
    throw new AppError("failed_precondition", message);
  }
  const pipe = new Socket({ fd: INHERITED_FDS.pipe, readable: true, writable: true });
  pipe.on("error", () => {}); // the holder is gone, which its end says, too
  pipe.write(HOLDS);
  pipe.resume();
  const released = new Promise<void>((resolve) => pipe.once("close", () => resolve()));
  const late = new AbortController();
  await Promise.race([released, delay(RELEASE_TIMEOUT_MS, late.signal).catch(() => {})]); // it was released
  late.abort();
  pipe.destroy();
  if (holder.role === "keeper") await endProcess(holder);
  return INHERITED_FDS.fuse;
}

/** Ends a process at once, and waits for a moment until it is gone. */
export async function endProcess(identity: ProcessIdentity): Promise<void> {
  for (let leftMs = REAP_MS; leftMs > 0; leftMs -= POLL_MS) {
    if (processState(identity) !== "alive") return;
    try {
      process.kill(identity.pid, "SIGKILL");
    } catch {
      return; // it is gone
    }
    await delay(POLL_MS);
  }
}
