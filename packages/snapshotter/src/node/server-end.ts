import { readFileSync } from "node:fs";
import type { ServerEnd } from "./server-start.ts";

/** What is known of a server's end. */
export interface EndSigns {
  readonly exitCode: number | null;
  readonly signal: NodeJS.Signals | null;
  /** It did not beat, and was ended for it. */
  readonly wedged: boolean;
  /** It has said that it ends by its own fault. */
  readonly faulted: boolean;
  /** Somebody was ended for want of memory about the time that it ended. */
  readonly outOfMemory: boolean;
}

/** Signals by which somebody else ends a process. */
const KILLING: readonly (NodeJS.Signals | null)[] = ["SIGKILL", "SIGTERM", "SIGINT", "SIGHUP"];

/** Whether a server ended by its own fault. The kernel's OOM killer uses SIGKILL too: what takes too much memory has crashed. */
export function endOf(signs: EndSigns): ServerEnd {
  if (signs.wedged || signs.faulted) return "crashed";
  if (!KILLING.includes(signs.signal)) return "crashed";
  return signs.signal === "SIGKILL" && signs.outOfMemory ? "crashed" : "killed";
}

/** The end in words, for the log. */
export function describeEnd(signs: EndSigns): string {
  if (signs.wedged) return "no heartbeat";
  if (signs.faulted) return "its own fault";
  const how = String(signs.signal ?? `exit code ${signs.exitCode}`);
  return signs.outOfMemory ? `${how}, out of memory` : how;
}

/** How many processes the kernel has ended for want of memory since the boot: `oom_kill` of proc_vmstat(5); 0 where it does not say. */
export function readOomKills(path = "/proc/vmstat"): number {
  try {
    const [, count] = /^oom_kill (\d+)$/m.exec(readFileSync(path, "latin1")) ?? [];
    return Number(count ?? 0);
  } catch {
    return 0; // no /proc: then the OOM killer passes for somebody who kills
  }
}

/** The OOM killer's count of some ticks ago, so that a kill that is noticed late is not missed, and one of an hour ago is not taken for this one. */
export class OomWatch {
  readonly #read: () => number;
  readonly #counts: number[];

  constructor(read: () => number = readOomKills) {
    this.#read = read;
    this.#counts = [read()];
  }

  /** To be called every second or so. */
  tick(): void {
    this.#counts.push(this.#read());
    if (this.#counts.length > 3) this.#counts.shift();
  }

  /** Whether somebody was ended for want of memory in the last ticks. */
  get hasKilled(): boolean {
    return this.#read() > (this.#counts[0] ?? 0);
  }
}
