import { type ChildProcess, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { AppError, abortable, type Logger } from "@soci-ts/core";
import {
  describeRequest,
  type HelperMessage,
  type HelperRequest,
} from "./mount-helper-protocol.ts";

/** How an app starts a helper process. */
export interface HelperCommand {
  /** Program and arguments. It must call `runMountHelper`. */
  readonly argv: readonly [string, ...string[]];
  /** Its whole environment. */
  readonly environment: Readonly<Record<string, string | undefined>>;
}

/** One helper process, seen from the daemon. It does one request at a time, so one that hangs costs itself only. */
export class HelperProcess {
  readonly #child: ChildProcess;
  readonly #logger: Logger;
  #answer: ((message: HelperMessage | undefined) => void) | undefined;
  #ended = false;

  constructor({ argv, environment }: HelperCommand, logger: Logger) {
    const [program, ...args] = argv;
    this.#logger = logger;
    this.#child = spawn(program, args, {
      cwd: "/",
      env: environment,
      stdio: ["pipe", "pipe", "inherit"],
    });
    this.#child.once("error", () => this.#end());
    this.#child.once("exit", () => this.#end());
    this.#child.stdin?.on("error", () => {}); // one that ended says so by "exit"
    if (this.#child.stdout !== null) {
      createInterface({ input: this.#child.stdout }).on("line", (line) => this.#take(line));
    }
  }

  /** False once it can't be asked any more. */
  get isUsable(): boolean {
    return !this.#ended;
  }

  /**
   * Has a request done. Only one at a time.
   * @throws AppError as what was asked for does; `unavailable` if the process ends; the signal's reason. After the last two the process is of no more
   *   use, and what it was doing may or may not have happened.
   */
  async ask(request: HelperRequest, signal: AbortSignal): Promise<void> {
    const answer = new Promise<HelperMessage | undefined>((resolve) => {
      this.#answer = resolve;
    });
    if (this.#ended) this.#end();
    else this.#child.stdin?.write(`${JSON.stringify(request)}\n`);
    let message: HelperMessage | undefined;
    try {
      message = await abortable(answer, signal);
    } catch (error) {
      this.kill();
      throw error;
    }
    if (message?.kind === "failed") {
      throw new AppError(message.code, message.message, { details: message.details });
    }
    if (message !== undefined) return;
    const what = describeRequest(request);
    throw new AppError("unavailable", `Cannot ${what}: the process that mounts ended`);
  }

  /** Lets it end when it has nothing to do. */
  close(): void {
    this.#ended = true;
    this.#child.stdin?.end();
  }

  /** Ends it now. A system call that waits for FUSE is given up. */
  kill(): void {
    this.#child.kill("SIGKILL");
    this.#end();
  }

  #take(line: string): void {
    const message = parseMessage(line);
    if (message === undefined) this.kill();
    else if (message.kind === "warning") this.#logger.warn(message.message, message.fields);
    else this.#settle(message);
  }

  #end(): void {
    this.#ended = true;
    this.#settle(undefined);
  }

  #settle(message: HelperMessage | undefined): void {
    this.#answer?.(message);
    this.#answer = undefined;
  }
}

/** `undefined` for what no helper writes. */
function parseMessage(line: string): HelperMessage | undefined {
  try {
    return JSON.parse(line) as HelperMessage;
  } catch {
    return undefined; // a program that is no helper: it is ended
  }
}
