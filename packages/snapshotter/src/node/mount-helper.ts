import { AppError, type IoOptions, type Logger, Semaphore, silentLogger } from "@soci-ts/core";
import type { BindFlag, UnmountOptions } from "@soci-ts/linux";
import type { IdMapping } from "../contract/types.ts";
import type { ErofsLayerMount } from "../erofs-mount.ts";
import { type HelperCommand, HelperProcess } from "./mount-helper-process.ts";
import { describeRequest, type HelperRequest } from "./mount-helper-protocol.ts";

/** What a mount helper is made of. */
export interface MountHelperOptions extends HelperCommand {
  /** Told what the helper could do only in part. */
  readonly logger?: Logger;
  /** After this many milliseconds a request that is being done is given up. Default 30,000. */
  readonly deadlineMs?: number;
}

/** Requests done at a time; each has a process of its own. */
const MAX_PROCESSES = 8;

/** Processes kept for later, about 40 MB each, most of it shared. */
const MAX_IDLE = 2;

const DEFAULT_DEADLINE_MS = 30_000;

/** A mount takes some milliseconds, a new process some hundred: one that is busy is waited for this long before another is started. */
const PATIENCE_MS = 150;

/**
 * Makes mounts for a process that serves FUSE. The kernel reads from the server before such a call returns, and also when a path into one of its
 * mounts is looked up, so a server that called itself would wait for itself for ever.
 *
 * Requests go to child processes, started when needed, each with one request at a time: one that hangs keeps no other waiting. All calls reject
 * with `deadline_exceeded` after the helper's deadline, `unavailable` if their process ends, or their signal's reason; then a mount may
 * exist or not, and {@link MountHelper.unmount} with `detach` makes sure that it does not. The next call starts a new process.
 */
export class MountHelper implements AsyncDisposable {
  readonly #options: MountHelperOptions;
  readonly #slots = new Semaphore(MAX_PROCESSES);
  readonly #idle: HelperProcess[] = [];
  readonly #busy = new Set<HelperProcess>();
  /** Calls that would rather have a process that is running than start one. */
  readonly #waiting = new Set<(helper: HelperProcess | undefined) => void>();
  #closed = false;

  constructor(options: MountHelperOptions) {
    this.#options = options;
  }

  /** Mounts a layer on an existing directory. @throws AppError with the layer's digest. */
  async mountErofs(layer: ErofsLayerMount, options?: IoOptions): Promise<void> {
    await this.#call({ kind: "mountErofs", layer }, options);
  }

  /** Shows a directory or file at a second place. @throws AppError with `details.errno`. */
  async bind(
    source: string,
    target: string,
    options: IoOptions & { readonly flags?: readonly BindFlag[] } = {},
  ): Promise<void> {
    await this.#call({ kind: "bind", source, target, flags: options.flags ?? [] }, options);
  }

  /** Unmounts what is on top at a directory; nothing happens if nothing is. @throws AppError `failed_precondition` if it is busy and not to be detached. */
  async unmount(target: string, options: UnmountOptions & IoOptions = {}): Promise<void> {
    await this.#call({ kind: "unmount", target, detach: options.detach === true }, options);
  }

  /** Shows a directory at a second place, made if absent, with shifted owners. @throws AppError `unimplemented` if the kernel or file system can't. */
  async idMap(
    source: string,
    target: string,
    mapping: IdMapping,
    options?: IoOptions,
  ): Promise<void> {
    await this.#call({ kind: "idMap", source, target, mapping }, options);
  }

  /** Reads a file into the page cache. @throws AppError if it can't be read. */
  async preload(path: string, options?: IoOptions): Promise<void> {
    await this.#call({ kind: "preload", path }, options);
  }

  /** Ends the helper's processes; requests that are being done reject with `unavailable`. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    for (const helper of this.#idle.splice(0)) helper.close();
    for (const helper of this.#busy) helper.kill();
  }

  async #call(request: HelperRequest, { signal }: IoOptions = {}): Promise<void> {
    await this.#slots.run(async () => {
      const helper = await this.#take();
      const deadline = this.#startDeadline(request);
      try {
        const either =
          signal === undefined ? deadline.signal : AbortSignal.any([signal, deadline.signal]);
        await helper.ask(request, either);
      } finally {
        deadline.stop();
        this.#giveBack(helper);
      }
    }, signal);
  }

  #startDeadline(request: HelperRequest): { readonly signal: AbortSignal; stop(): void } {
    const { deadlineMs = DEFAULT_DEADLINE_MS } = this.#options;
    const abort = new AbortController();
    const timer = setTimeout(() => {
      const message = `Cannot ${describeRequest(request)}: not done after ${deadlineMs} ms`;
      abort.abort(new AppError("deadline_exceeded", message));
    }, deadlineMs);
    return { signal: abort.signal, stop: () => clearTimeout(timer) };
  }

  async #take(): Promise<HelperProcess> {
    const idle = this.#takeIdle();
    const running = idle ?? (this.#busy.size === 0 ? undefined : await this.#nextIdle());
    if (this.#closed) {
      running?.close();
      throw new AppError("unavailable", "Cannot mount: the mount helper was closed");
    }
    const helper = running ?? this.#start();
    this.#busy.add(helper);
    return helper;
  }

  #takeIdle(): HelperProcess | undefined {
    let helper = this.#idle.pop();
    while (helper !== undefined && !helper.isUsable) helper = this.#idle.pop();
    return helper;
  }

  /** One that is given back soon, or `undefined`. */
  #nextIdle(): Promise<HelperProcess | undefined> {
    return new Promise((resolve) => {
      const take = (helper: HelperProcess | undefined): void => {
        clearTimeout(timer);
        this.#waiting.delete(take);
        resolve(helper);
      };
      const timer = setTimeout(() => take(undefined), PATIENCE_MS);
      this.#waiting.add(take);
    });
  }

  #start(): HelperProcess {
    return new HelperProcess(this.#options, this.#options.logger ?? silentLogger);
  }

  #giveBack(helper: HelperProcess): void {
    this.#busy.delete(helper);
    if (!helper.isUsable) return;
    const [next] = this.#waiting;
    if (next !== undefined && !this.#closed) next(helper);
    else if (this.#closed || this.#idle.length >= MAX_IDLE) helper.close();
    else this.#idle.push(helper);
  }
}

/** A mount helper; its first process is started by the first call. The caller disposes of it. */
export function startMountHelper(options: MountHelperOptions): MountHelper {
  return new MountHelper(options);
}
