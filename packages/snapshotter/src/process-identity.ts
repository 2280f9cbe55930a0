import { readFileSync, readlinkSync } from "node:fs";
import { AppError } from "@soci-ts/core";

/** A process, so exactly that a later one with the same PID is not taken for it. */
export interface ProcessIdentity {
  readonly pid: number;
  /** Clock ticks from boot to its start: field 22 of `/proc/PID/stat` (proc(5)). */
  readonly startTicks: string;
  readonly bootId: string;
  /** The PID namespace that `pid` counts in, as `/proc/self/ns/pid` names it. */
  readonly pidNamespace: string;
}

/** What can be told of a process; `unknown`: it counts in a PID namespace that is not ours. */
export type ProcessState = "alive" | "gone" | "unknown";

/** The identity of a process of this namespace; `undefined` if there is none, or it is dead and waits to be reaped. */
export function identifyProcess(pid: number): ProcessIdentity | undefined {
  const startTicks = readStartTicks(pid);
  if (startTicks === undefined) return undefined;
  return { pid, startTicks, bootId: readBootId(), pidNamespace: readPidNamespace() };
}

/** This process. @throws AppError `failed_precondition` where /proc is missing. */
export function ownIdentity(): ProcessIdentity {
  const self = identifyProcess(process.pid);
  if (self !== undefined) return self;
  throw new AppError("failed_precondition", "Cannot read /proc/self/stat: want /proc mounted");
}

/** Whether a process still runs. */
export function processState(identity: ProcessIdentity): ProcessState {
  if (identity.bootId !== readBootId()) return "gone";
  if (identity.pidNamespace !== readPidNamespace()) return "unknown";
  return readStartTicks(identity.pid) === identity.startTicks ? "alive" : "gone";
}

/** A process of this boot as part of a file name: digits and dashes. */
export function ownerName({ pidNamespace, pid, startTicks }: ProcessIdentity): string {
  return `${pidNamespace.replace(/\D/g, "")}-${pid}-${startTicks}`;
}

/** Whether the process that {@link ownerName} named still runs; `unknown` for what is no such name too. */
export function ownerState(name: string): ProcessState {
  const [, namespace, pid, startTicks] = /^(\d+)-(\d+)-(\d+)$/.exec(name) ?? [];
  if (pid === undefined || namespace !== readPidNamespace().replace(/\D/g, "")) return "unknown";
  return readStartTicks(Number(pid)) === startTicks ? "alive" : "gone";
}

/** The kernel's name for this boot. */
export function readBootId(): string {
  return readFileSync("/proc/sys/kernel/random/boot_id", "latin1").trim();
}

function readPidNamespace(): string {
  return readlinkSync("/proc/self/ns/pid");
}

function readStartTicks(pid: number): string | undefined {
  let text: string;
  try {
    text = readFileSync(`/proc/${pid}/stat`, "latin1");
  } catch {
    return undefined; // no such process
  }
  // The second field is the program's name in parentheses and may hold anything, parentheses too.
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  return fields[0] === "Z" || fields[0] === "X" ? undefined : fields[19];
}
