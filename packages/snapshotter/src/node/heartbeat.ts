import { writeSync } from "node:fs";
import { open } from "node:fs/promises";
import { Socket } from "node:net";
import type { Readable } from "node:stream";
import { delay } from "@soci-ts/core";

/** The layer server's descriptor of the pipe to its keeper. */
export const HEARTBEAT_FD = 4;

const BEAT = ".";
const FAULT = "!";

/** A server that has never beaten is given this many ticks: a cold disk on a busy machine. */
const TICKS_TO_START = 90;

/** A server that has beaten is taken for wedged after this many ticks without. */
const TICKS_TO_MISS = 20;

/** Tells the keeper that this process works. */
export interface Heartbeat {
  /** Tells the keeper that this process is about to end by its own fault. */
  fault(): void;
  /** No more beats. Idempotent. */
  stop(): void;
}

/**
 * Beats about every `intervalMs` milliseconds, each time after a turn of the event loop and a trip through libuv's pool: neither a loop that hangs nor a
 * pool whose threads are all stuck in the kernel beats, nor one of which `isStuck` says that something else is. A keeper that is gone is not missed.
 */
export function startHeartbeat(
  intervalMs: number,
  isStuck: () => boolean = () => false,
  fd: number = HEARTBEAT_FD,
): Heartbeat {
  const pipe = new Socket({ fd, readable: false, writable: true }).unref();
  const stopped = new AbortController();
  pipe.on("error", () => stopped.abort()); // the keeper is gone
  void beat(pipe, intervalMs, isStuck, stopped.signal).catch(() => {}); // it was stopped
  return {
    fault: () => {
      stopped.abort();
      try {
        writeSync(fd, FAULT);
      } catch {
        // the keeper is gone, or does not read: it finds out later, or never
      }
    },
    stop: () => stopped.abort(),
  };
}

async function beat(
  pipe: Socket,
  intervalMs: number,
  isStuck: () => boolean,
  stopped: AbortSignal,
): Promise<void> {
  while (!stopped.aborted) {
    await passPool();
    // A keeper that is suspended reads nothing; one beat is enough for when it goes on.
    if (pipe.writableLength === 0 && !isStuck()) pipe.write(BEAT);
    await delay(intervalMs, stopped);
  }
}

/** Resolves after a trip through libuv's pool, with a file that no disk or mount can make wait. */
export async function passPool(): Promise<void> {
  await using _file = await open("/dev/null");
}

/**
 * Counts ticks without a beat. Ticks of this process and not time, because a machine that was suspended for an hour has not missed any; after it,
 * both go on together.
 */
export class BeatWatch {
  readonly #timer: NodeJS.Timeout;
  #ticksLeft = TICKS_TO_START;
  #faulted = false;

  constructor(
    pipe: Readable,
    options: {
      readonly tickMs: number;
      readonly onTick: () => void;
      readonly onMissed: () => void;
    },
  ) {
    pipe.on("error", () => {}); // whether the server lives is told by its exit
    pipe.on("data", (piece: Buffer) => {
      this.#ticksLeft = TICKS_TO_MISS;
      if (piece.includes(FAULT)) this.#faulted = true;
    });
    this.#timer = setInterval(() => {
      options.onTick();
      this.#ticksLeft -= 1;
      if (this.#ticksLeft === 0) options.onMissed();
    }, options.tickMs);
  }

  /** Whether the server has said that it ends by its own fault. */
  get faulted(): boolean {
    return this.#faulted;
  }

  /** Stops watching. Idempotent. */
  stop(): void {
    clearInterval(this.#timer);
  }
}
