import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import type { Readable } from "node:stream";
import { AppError, delay, type Logger } from "@soci-ts/core";
import { identifyProcess, type ProcessIdentity, processState } from "../process-identity.ts";
import type { ServerCommand } from "../server-process.ts";
import { BeatWatch, HEARTBEAT_FD } from "./heartbeat.ts";
import { LAYER_SERVER_FUSE_FD } from "./node-paths.ts";
import { describeEnd, type EndSigns, endOf, OomWatch } from "./server-end.ts";
import { encodeServerStart, type ServerEnd } from "./server-start.ts";

/** Servers of a connection that ended, by how. */
export interface EndCounts {
  readonly crashes: number;
  readonly kills: number;
}

/** What it takes to keep a connection served. */
export interface ServingOptions extends EndCounts {
  readonly server: ServerCommand;
  /** The FUSE connection; stays the caller's. */
  readonly fd: number;
  /** A second; less in tests. */
  readonly tickMs: number;
  readonly logger: Logger;
  /** Whether there is anything left to serve. */
  readonly isMounted: () => boolean;
  /** Writes down which server runs, before anything else happens. */
  readonly onStarted: (server: ProcessIdentity | undefined, counts: EndCounts) => Promise<void>;
  /** Ends the keeping; the server goes on. */
  readonly released: AbortSignal;
}

/** libuv threads of the layer server: two wait for requests, the others inflate, hash and do file I/O. */
const SERVER_THREADS = "16";

/** A server that ran for this long has not failed at its start. */
const STABLE_MS = 10_000;
const MIN_BACKOFF_MS = 50;
const MAX_BACKOFF_MS = 5000;

/** Servers that are killed are followed at once, but are not started more often than this. */
const MIN_LIFE_MS = 100;

/** A server that was sent SIGKILL is not waited for longer: a thread in uninterruptible sleep keeps it from being reaped. */
const REAP_MS = 1000;

/** How long a server that crashed is followed by none, given how long the one before it was. */
export function backoffAfterCrash(lastMs: number, livedMs: number): number {
  if (livedMs >= STABLE_MS) return MIN_BACKOFF_MS;
  return Math.min(MAX_BACKOFF_MS, Math.max(MIN_BACKOFF_MS, lastMs * 2));
}

/**
 * Has the connection served: starts a server, and another one when it ends or does not beat, until the file system has been unmounted or the connection
 * is somebody else's.
 */
export async function keepServing(options: ServingOptions): Promise<"unmounted" | "released"> {
  const { logger, released } = options;
  let { crashes, kills } = options;
  let predecessor: ServerEnd = "killed";
  let backoffMs = 0;
  for (;;) {
    if (released.aborted) return "released";
    const startedMs = performance.now();
    const signs = await serveOnce(options, { predecessor, crashes, kills });
    if (signs === undefined) return "released";
    if (!options.isMounted()) return "unmounted";
    predecessor = endOf(signs);
    const livedMs = performance.now() - startedMs;
    let waitMs = Math.max(0, MIN_LIFE_MS - livedMs);
    if (predecessor === "crashed") {
      crashes += 1;
      backoffMs = backoffAfterCrash(backoffMs, livedMs);
      waitMs = backoffMs;
    } else {
      kills += 1;
    }
    const how = describeEnd(signs);
    logger.error("layer server ended, another is started", { how, predecessor, waitMs });
    await delay(waitMs, released).catch(() => {}); // it is somebody else's turn
  }
}

/** Runs one server to its end, which that it can't be started is one of; `undefined` if it is let go before. */
async function serveOnce(
  options: ServingOptions,
  start: EndCounts & { readonly predecessor: ServerEnd },
): Promise<EndSigns | undefined> {
  const { logger, tickMs, released } = options;
  let server: KeptServer;
  try {
    server = new KeptServer(options, encodeServerStart({ ...start, beatMs: tickMs }));
  } catch (error) {
    logger.error("layer server not started", { error: AppError.from(error).message });
    return { exitCode: null, signal: null, wedged: false, faulted: false, outOfMemory: false };
  }
  await options.onStarted(server.identity, start).catch((error: unknown) => {
    logger.error("keeper's record not written", { error: AppError.from(error).message });
  });
  return await server.ended(released);
}

/** A layer server, from its start to its end. */
class KeptServer {
  readonly identity: ProcessIdentity | undefined;
  readonly #child: ChildProcess;
  readonly #pipe: Readable;
  readonly #watch: BeatWatch;
  readonly #oom = new OomWatch();
  #end: (signs: EndSigns) => void = () => {};
  #wedged = false;
  #wasGone = false;

  constructor({ server, fd, tickMs }: ServingOptions, start: string) {
    const [program, ...args] = server.argv;
    const stdio: ("ignore" | "inherit" | "pipe" | number)[] = ["ignore", "inherit", "inherit"];
    stdio[LAYER_SERVER_FUSE_FD] = fd;
    stdio[HEARTBEAT_FD] = "pipe";
    this.#child = spawn(program, [...args, start], {
      cwd: "/",
      env: { ...server.environment, UV_THREADPOOL_SIZE: SERVER_THREADS },
      stdio,
    });
    this.#child.on("error", () => this.#finish(null, null));
    const { pid } = this.#child;
    this.identity = pid === undefined ? undefined : identifyProcess(pid);
    this.#pipe = this.#child.stdio[HEARTBEAT_FD] as Readable;
    this.#watch = new BeatWatch(this.#pipe, {
      tickMs,
      onTick: () => this.#tick(),
      onMissed: () => this.#giveUp(),
    });
  }

  /** How it ended; `undefined` if it is let go before: then it lives on without this process. */
  async ended(released: AbortSignal): Promise<EndSigns | undefined> {
    const signs = await new Promise<EndSigns | undefined>((resolve) => {
      this.#end = resolve;
      const { exitCode, signalCode } = this.#child;
      if (exitCode !== null || signalCode !== null) void this.#exited(exitCode, signalCode);
      this.#child.once("exit", (code, signal) => void this.#exited(code, signal));
      if (released.aborted) resolve(undefined);
      released.addEventListener("abort", () => resolve(undefined), { once: true });
    });
    this.#watch.stop();
    this.#pipe.destroy();
    this.#child.unref();
    return signs;
  }

  /**
   * A killed server with a thread in uninterruptible sleep is a zombie that can't be reaped; and it may sleep until a request is answered that only the
   * next server can answer. One whose end is only on its way is reaped between two ticks.
   */
  #tick(): void {
    this.#oom.tick();
    const isGone = this.identity !== undefined && processState(this.identity) === "gone";
    if (isGone && this.#wasGone) this.#finish(null, "SIGKILL");
    this.#wasGone = isGone;
  }

  /** A thread in uninterruptible sleep keeps a process from being reaped, SIGKILL or not. */
  #giveUp(): void {
    this.#wedged = true;
    this.#child.kill("SIGKILL");
    setTimeout(() => this.#finish(null, "SIGKILL"), REAP_MS).unref();
  }

  /** Its last word may still be on the way when it is reaped; a child of its own may hold the pipe for ever. */
  async #exited(exitCode: number | null, signal: NodeJS.Signals | null): Promise<void> {
    const late = AbortSignal.timeout(REAP_MS);
    if (!this.#pipe.closed) await once(this.#pipe, "close", { signal: late }).catch(() => {}); // see above
    this.#finish(exitCode, signal);
  }

  #finish(exitCode: number | null, signal: NodeJS.Signals | null): void {
    const { faulted } = this.#watch;
    const outOfMemory = this.#oom.hasKilled;
    this.#end({ exitCode, signal, wedged: this.#wedged, faulted, outOfMemory });
  }
}
