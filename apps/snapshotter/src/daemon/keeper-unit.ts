import { readFileSync } from "node:fs";

/** Variables of a keeper that is systemd's; absent in one that is not. */
export interface KeeperUnit {
  readonly NOTIFY_SOCKET: string | undefined;
  /** The control group of the unit, as /proc/PID/cgroup names it. */
  readonly SOCI_KEEPER_CGROUP: string | undefined;
}

/**
 * By what a keeper knows that it is its unit's main process, and its successors after it. systemd tells units apart by the control group of whoever
 * speaks. A keeper that came to be in another one, because a process of the daemon's unit handed over to it, must say nothing: systemd would take
 * it for the daemon.
 */
export function keeperUnit(
  environment: Readonly<Record<string, string | undefined>>,
  ownGroup: string | undefined,
): KeeperUnit {
  const { NOTIFY_SOCKET, SOCI_KEEPER_CGROUP = ownGroup } = environment;
  const isOurs = ownGroup !== undefined && SOCI_KEEPER_CGROUP === ownGroup;
  if (NOTIFY_SOCKET === undefined || !isOurs) {
    return { NOTIFY_SOCKET: undefined, SOCI_KEEPER_CGROUP: undefined };
  }
  return { NOTIFY_SOCKET, SOCI_KEEPER_CGROUP };
}

/** This process's control group, as /proc/self/cgroup names it. */
export function controlGroup(): string | undefined {
  try {
    return readFileSync("/proc/self/cgroup", "utf8").trim();
  } catch {
    return undefined; // a kernel without control groups: no systemd
  }
}
