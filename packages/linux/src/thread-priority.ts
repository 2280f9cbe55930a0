import { setPriority } from "node:os";
import { loadLibc } from "./ffi.ts";

/** Policies of sched(7). What the thread starts gets the usual one. */
const SCHED_RR = 2;
const SCHED_IDLE = 5;
const RESET_ON_FORK = 0x4000_0000;

const LOWEST_NICE = 19;
const HIGH_NICE = -10;

/**
 * From now on the calling thread runs only where nobody else wants the processor (SCHED_IDLE): whoever wakes up takes it from it at once. Without FFI it is a
 * thread of the lowest priority, whose turn others wait for: some milliseconds.
 */
export function runWhenIdle(): void {
  if (!schedule(SCHED_IDLE, 0)) setPriority(0, LOWEST_NICE); // Linux: of this thread
}

/**
 * From now on the calling thread runs as soon as it is woken, whoever has the processor (SCHED_RR, the lowest real-time priority): for what takes some hundred
 * microseconds at a time and others wait for. Without FFI it has a higher priority than others, where that is allowed (CAP_SYS_NICE).
 */
export function runAtOnce(): void {
  if (schedule(SCHED_RR, 1)) return;
  try {
    setPriority(0, HIGH_NICE);
  } catch {
    // It is a thread like others, then.
  }
}

function schedule(policy: number, priority: number): boolean {
  return loadLibc()?.setScheduler(policy + RESET_ON_FORK, priority) === 0;
}
