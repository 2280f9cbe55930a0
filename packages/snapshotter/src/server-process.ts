import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, openSync } from "node:fs";
import { join } from "node:path";
import type { Readable, Writable } from "node:stream";
import { AppError, abortable, type ErrorCode } from "@soci-ts/core";
import { identifyProcess, type ProcessIdentity } from "./process-identity.ts";

/** How an app starts the process that serves a mount. */
export interface ServerCommand {
  /** Program and arguments; the mount's directory is added as the last one. It must call `serveMount`. */
  readonly argv: readonly [string, ...string[]];
  /** Its whole environment; `UV_THREADPOOL_SIZE` is set here. */
  readonly environment: Readonly<Record<string, string | undefined>>;
}

/** What the serving process says when it can be used. */
export interface ServerReady {
  /** True if every byte of every layer is on the disk. */
  readonly complete: boolean;
}

/** What a serving process writes to its ready pipe: one JSON line, then nothing. */
export type ServerMessage =
  | { readonly kind: "ready"; readonly complete: boolean }
  | { readonly kind: "failed"; readonly code: ErrorCode; readonly message: string };

/** What the mounting process writes to the server's standard input when the mount is on record as mounted. */
export const COMMIT_WORD = "mounted\n";

/** Descriptors of the serving process, besides the log on 1 and 2. */
export const SERVER_FDS = { commit: 0, fuse: 3, ready: 4 } as const;

/** The serving process's log, in the mount's directory. */
export const SERVER_LOG_FILE = "log";

/** libuv threads of the serving process: two wait for requests, the others inflate, hash and do file I/O. */
const THREADS = "16";

const START_TIMEOUT_MS = 60_000;

/**
 * The process that serves a mount, seen from the one that makes the mount. Until {@link StartedServer.commit} the server ends when
 * this process ends, so that a mount that never came to be leaves nobody behind; afterwards it goes on alone.
 */
export class StartedServer {
  readonly identity: ProcessIdentity;
  readonly #child: ChildProcess;

  constructor(child: ChildProcess, identity: ProcessIdentity) {
    this.#child = child;
    this.identity = identity;
  }

  /** Waits until the server has answered the kernel. @throws AppError with the server's reason if it fails or ends. */
  async ready(signal?: AbortSignal): Promise<ServerReady> {
    const deadline = AbortSignal.timeout(START_TIMEOUT_MS);
    const either = signal === undefined ? deadline : AbortSignal.any([signal, deadline]);
    const line = await abortable(readAll(this.#child.stdio[SERVER_FDS.ready] as Readable), either);
    const message = parseMessage(line);
    if (message === undefined) throw startError("internal", "it ended");
    if (message.kind === "failed") throw startError(message.code, message.message);
    return { complete: message.complete };
  }

  /** Lets the server go on without this process. */
  async commit(): Promise<void> {
    const input = this.#child.stdin as Writable;
    await new Promise<void>((resolve, reject) => {
      input.once("error", reject);
      input.end(COMMIT_WORD, resolve);
    });
    this.#child.unref();
  }

  /** Ends the server at once and waits until it is gone. Idempotent. */
  async kill(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const gone = new Promise<void>((resolve) => this.#child.once("exit", () => resolve()));
    this.#child.kill("SIGKILL");
    await gone;
  }
}

/**
 * Starts a serving process: detached from terminal and session, working directory `/`, output to the mount's log.
 * @param fuseFd - stays the caller's to close; the server has its own copy.
 * @throws AppError if it can't be started.
 */
export async function startServer(
  command: ServerCommand,
  directory: string,
  fuseFd: number,
): Promise<StartedServer> {
  const [program, ...args] = command.argv;
  const log = openSync(join(directory, SERVER_LOG_FILE), "a", 0o600);
  try {
    const child = spawn(program, [...args, directory], {
      cwd: "/",
      detached: true,
      env: { ...command.environment, UV_THREADPOOL_SIZE: THREADS },
      stdio: ["pipe", log, log, fuseFd, "pipe"],
    });
    child.stdin?.on("error", () => {}); // a server that ended says so on its ready pipe
    await new Promise<void>((resolve, reject) => {
      child.once("spawn", resolve);
      child.once("error", (error) => reject(startError("internal", error.message)));
    });
    const identity = child.pid === undefined ? undefined : identifyProcess(child.pid);
    if (identity === undefined) throw startError("internal", "it ended");
    return new StartedServer(child, identity);
  } finally {
    closeSync(log);
  }
}

function startError(code: ErrorCode, state: string): AppError {
  return new AppError(code, `Cannot start the process that serves the mount: ${state}`);
}

async function readAll(stream: Readable): Promise<string> {
  let text = "";
  for await (const piece of stream) text += String(piece);
  return text;
}

function parseMessage(line: string): ServerMessage | undefined {
  try {
    return JSON.parse(line) as ServerMessage;
  } catch {
    return undefined; // nothing, or half a line: it ended
  }
}
