import { type ChildProcessByStdio, spawn } from "node:child_process";
import { once } from "node:events";
import { setPriority } from "node:os";
import { createInterface } from "node:readline";
import type { Readable, Writable } from "node:stream";
import type { ServerCommand } from "../server-process.ts";
import type { ImageJob, WorkerMessage } from "./image-job.ts";

/** A worker that has done this many images is not given another: whatever an image may have left in it ends with it. */
const MAX_JOBS = 16;

/** One that has grown beyond this is not kept. */
const MAX_RESIDENT_BYTES = 160 * 2 ** 20;

/** An image worker, seen from the daemon. Does one image at a time. */
export class ImageWorkerProcess {
  readonly #child: ChildProcessByStdio<Writable, Readable, null>;
  readonly #lines: AsyncIterator<string>;
  #jobs = 0;

  constructor({ argv, environment }: ServerCommand) {
    const [program, ...args] = argv;
    this.#child = spawn(program, args, {
      cwd: "/",
      env: { ...environment },
      stdio: ["pipe", "pipe", "inherit"],
    });
    this.#child.on("error", () => {}); // its output ends, and that is reported
    this.#child.stdin.on("error", () => {});
    this.#child.unref();
    // At once: Node throws the output of a process away that ends while nobody reads it.
    this.#lines = createInterface({ input: this.#child.stdout })[Symbol.asyncIterator]();
  }

  /** False for a program that could not be started; its output never ends. */
  get hasStarted(): boolean {
    return this.#child.pid !== undefined;
  }

  get isAlive(): boolean {
    return this.hasStarted && this.#child.exitCode === null && this.#child.signalCode === null;
  }

  /** How much it gives way to others, 0 to 19. */
  setNiceness(niceness: number): void {
    try {
      if (this.#child.pid !== undefined) setPriority(this.#child.pid, niceness);
    } catch {
      // It has ended, or we may not: then it works at the priority that it has.
    }
  }

  /** Gives it a job; only when it has none. */
  begin(job: ImageJob): void {
    this.#jobs += 1;
    this.#child.stdin.write(`${JSON.stringify(job)}\n`);
  }

  /** What it says next: `ended` if it is gone, `undefined` for what no worker says. */
  async next(): Promise<WorkerMessage | "ended" | undefined> {
    const { done, value } = await this.#lines.next();
    return done === true ? "ended" : parseMessage(value);
  }

  /** True if another image can be given to it after it ended one with `residentBytes`. */
  isFitFor(residentBytes: number): boolean {
    return this.isAlive && this.#jobs < MAX_JOBS && residentBytes <= MAX_RESIDENT_BYTES;
  }

  /** Ends it, without waiting. */
  kill(): void {
    this.#child.kill("SIGKILL");
  }

  /** Ends it and waits until it is gone. */
  async end(): Promise<void> {
    if (!this.isAlive) return;
    this.#child.ref();
    const gone = once(this.#child, "exit");
    this.kill();
    await gone;
  }
}

function parseMessage(line: string): WorkerMessage | undefined {
  try {
    return JSON.parse(line) as WorkerMessage;
  } catch {
    return undefined; // the caller says so
  }
}
