import { randomBytes } from "node:crypto";
import { readFileSync, readlinkSync } from "node:fs";
import process from "node:process";
import type { Database } from "@soci-ts/sqlite";

/**
 * Names of things that belong to a living process, in a form that another process can check: what a killed process left behind is
 * told apart from what a living one still needs. A process is named by boot, PID namespace, PID and start time, so a reused PID
 * is not taken for the dead one.
 */
export type OwnerName = string;

const NAME = /^([0-9a-f]{8})-(\d+)-(\d+)-(\d+)-[0-9a-f]{8}/;

/** A fresh name that belongs to this process: letters, digits and dashes. */
export function createOwnerName(): OwnerName {
  const start = startTicks(process.pid) ?? "0";
  return `${bootId()}-${pidNamespace()}-${process.pid}-${start}-${randomBytes(4).toString("hex")}`;
}

/**
 * Whether the owner of a name has ended: `alive`, `gone`, or `unknown` where it can't be seen from here (another PID
 * namespace) and for what is no owner's name at all. A name may be followed by anything.
 */
export function ownerState(name: string): "alive" | "gone" | "unknown" {
  const match = NAME.exec(name);
  if (match === null) return "unknown";
  const [, boot, namespace, pid, start] = match;
  if (boot !== bootId()) return "gone";
  if (namespace !== pidNamespace()) return "unknown";
  return startTicks(Number(pid)) === start ? "alive" : "gone";
}

/** A table whose rows belong to processes, each named in its column `owner`. */
export type OwnedTable = "claim" | "hold";

/** Deletes the rows of processes that have ended. */
export function forgetDeadOwners(database: Database, table: OwnedTable): void {
  const owners = database.prepare<{ owner: string }>(`SELECT DISTINCT owner FROM ${table}`).all();
  for (const { owner } of owners) {
    if (ownerState(owner) !== "gone") continue;
    database.prepare(`DELETE FROM ${table} WHERE owner = ?`).run(owner);
  }
}

function bootId(): string {
  return readFileSync("/proc/sys/kernel/random/boot_id", "latin1").slice(0, 8);
}

function pidNamespace(): string {
  return readlinkSync("/proc/self/ns/pid").replace(/\D/g, "");
}

/** Field 22 of /proc/PID/stat (proc(5)); undefined if there is no such process, or it is dead and only waits to be reaped. */
function startTicks(pid: number): string | undefined {
  let text: string;
  try {
    text = readFileSync(`/proc/${pid}/stat`, "latin1");
  } catch {
    // ENOENT or ESRCH: no such process.
    return undefined;
  }
  // The second field, the program's name in parentheses, may hold anything.
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  return fields[0] === "Z" || fields[0] === "X" ? undefined : fields[19];
}
